# Follow the release table: services first, routes when they are ready. What fails is tried again.
# What the table has not wanted for 24 rounds is deleted: by then every gateway has seen routes without it.
set -u
same=0
while true; do
    if counterfoil manifests --image "$IMAGE" --part services --out /tmp/services.yaml &&
        kubectl apply -f /tmp/services.yaml &&
        kubectl wait --for=condition=Available --timeout=180s -f /tmp/services.yaml --selector app.kubernetes.io/part-of=counterfoil &&
        counterfoil manifests --image "$IMAGE" --part routes --out /tmp/routes.yaml &&
        kubectl apply -f /tmp/routes.yaml; then
        if cmp -s /tmp/services.yaml /tmp/before.yaml; then same=$((same + 1)); else same=0; fi
        cp /tmp/services.yaml /tmp/before.yaml
        if [ "$same" -eq 24 ]; then
            kubectl apply --prune -n counterfoil -l app.kubernetes.io/component=release -f /tmp/services.yaml \
                --prune-allowlist=core/v1/ConfigMap --prune-allowlist=core/v1/Service --prune-allowlist=apps/v1/Deployment
        fi
    fi
    sleep 5
done
