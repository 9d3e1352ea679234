# Follow the release table: services first, routes when they are ready. What fails is tried again.
# What the table has not wanted for 24 rounds is deleted: by then every gateway has seen routes without it.
set -u
made=$(mktemp -d) || exit 1
same=0
release=app.kubernetes.io/component=release

# The image of this Deployment, however it was set: kustomize looks into no variables, and knows nothing of `kubectl set image`.
own_image() {
    kubectl get deployment releases -n counterfoil -o 'jsonpath={.spec.template.spec.containers[?(@.name=="releases")].image}'
}

# Apply services, and wait until every pod of their Deployments is as these say, and so tells the release that the routes name:
# its pointer's name has a digest in it. Of these alone: one that is no longer wanted may never become ready.
roll_out() {
    names=$(kubectl apply -f "$made/wanted.yaml" -l "$release" -o name) || return 1
    deployments=$(echo "$names" | grep '^deployment') || return 1
    for deployment in $deployments; do
        kubectl rollout status -n counterfoil --timeout=180s "$deployment" || return 1
    done
}

while true; do
    # rendered at once: routes of a later moment could name what was not applied
    if image=$(own_image) &&
        counterfoil manifests --image "$image" --out "$made/wanted.yaml" &&
        roll_out &&
        kubectl apply -f "$made/wanted.yaml" -l "app.kubernetes.io/component!=release"; then
        if cmp -s "$made/wanted.yaml" "$made/before.yaml"; then same=$((same + 1)); else same=0; fi
        cp "$made/wanted.yaml" "$made/before.yaml"
        if [ "$same" -eq 24 ]; then
            kubectl apply --prune -n counterfoil -l "$release" -f "$made/wanted.yaml" \
                --prune-allowlist=core/v1/ConfigMap --prune-allowlist=core/v1/Service --prune-allowlist=apps/v1/Deployment
        fi
    fi
    sleep 5
done
