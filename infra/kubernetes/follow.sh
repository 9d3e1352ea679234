# Follow the release table: services first, routes when they are ready. What fails is tried again.
set -u
while true; do
    if counterfoil manifests --image "$IMAGE" --part services --out /tmp/services.yaml &&
        kubectl apply -f /tmp/services.yaml &&
        kubectl wait --for=condition=Available --timeout=180s -f /tmp/services.yaml --selector app.kubernetes.io/part-of=counterfoil &&
        counterfoil manifests --image "$IMAGE" --part routes --out /tmp/routes.yaml; then
        kubectl apply -f /tmp/routes.yaml
    fi
    sleep 5
done
