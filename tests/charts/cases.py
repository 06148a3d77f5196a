"""Values for the chart of the gateway: what it makes of each, and what it refuses."""

from __future__ import annotations

PROMETHEUS = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
PROXIES = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}]
OUTSIDE = [{"ipBlock": {"cidr": "10.1.0.0/16"}}]
EGRESS = [{"ports": [{"port": 443}]}]
INTERNAL = {"service.beta.kubernetes.io/azure-load-balancer-internal": "true"}
IDENTITY = "0b8c6c3e-52cb-4d0c-8d64-3d6a8e6f2a77"
ASKED = {"listen": "0.0.0.0:8084", "trusted": ["10.244.0.0/16"], "protocol": "nginx"}
HOST = "airflow.contoso.com"
INGRESS = {"enabled": True, "className": "theirs", "hosts": [HOST]}
TLS = [{"secretName": "tls", "hosts": [HOST]}]
ROUTE = {"enabled": True, "parentRefs": [{"name": "airflow", "namespace": "ingress"}],
         "hostnames": [HOST], "timeouts": {"request": "0s"}}
# Files of a pod, which Helm does not look for.
OWN_TLS = {"cert_file": "/tls/tls.crt", "key_file": "/tls/tls.key"}
DIGEST = "sha256:" + "a" * 64
ENV = [{"name": "TENANT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
# Values that are fields of a pod under the same name.
OF_A_POD = {
    "nodeSelector": {"e": "f"}, "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}}, "priorityClassName": "high",
    "imagePullSecrets": [{"name": "registry"}],
}
# Values, and the kinds of objects that come with or go by them.
FLAGS: dict[str, tuple[dict, dict[str, int]]] = {
    "nothing more": ({}, {"Secret": 0, "HorizontalPodAutoscaler": 0, "Service": 1, "ConfigMap": 1}),
    "autoscaling": ({"autoscaling": {"enabled": True}}, {"HorizontalPodAutoscaler": 1}),
    "no disruption budget": ({"podDisruptionBudget": {"enabled": False}}, {"PodDisruptionBudget": 0}),
    "a share for the budget": ({"podDisruptionBudget": {"maxUnavailable": "25%"}}, {}),
    "no service account": (
        {"serviceAccount": {"create": False, "name": "theirs"}}, {"ServiceAccount": 0}),
    "a managed identity": (
        {"workloadIdentity": {"clientId": IDENTITY}}, {}),
    "a port for workers": (
        {"config": {"execution_listen": "0.0.0.0:8082", "access": {"execution_api": "verify"}}}, {}),
    "a port for proxies that ask": (
        {"config": {"forward_auth": ASKED}, "networkPolicy": {"askers": PROXIES}}, {}),
    "other ports": ({"config": {"listen": "0.0.0.0:8888", "admin": {"listen": "[::]:9999"}},
                     "service": {"port": 80}}, {}),
    "a port for proxies that ask by gRPC": (
        {"config": {"forward_auth": ASKED | {"protocol": "envoy_grpc"}},
         "networkPolicy": {"askers": PROXIES}}, {}),
    "a load balancer": (
        {"service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local",
                     "annotations": INTERNAL}, "plainHttp": True,
         "networkPolicy": {"callers": OUTSIDE}}, {}),
    "an end that takes long": (
        {"terminationGracePeriodSeconds": 120,
         "config": {"drain": {"delay": "1m 30s", "timeout": "20s"}}}, {}),
    "an admin service": (
        {"adminService": {"enabled": True}, "networkPolicy": {"admin": PROMETHEUS}}, {"Service": 2}),
    "an Ingress": (
        {"ingress": INGRESS | {"tls": TLS, "annotations": {"an/annotation": "here"}}},
        {"Ingress": 1}),
    "an Ingress for a certificate of every host": (
        {"ingress": INGRESS | {"tls": [{"secretName": "tls", "hosts": ["*.contoso.com"]}]}},
        {"Ingress": 1}),
    "an Ingress behind something that ends TLS": (
        {"ingress": INGRESS, "plainHttp": True}, {"Ingress": 1}),
    "an HTTPRoute": (
        {"httpRoute": ROUTE}, {"HTTPRoute": 1}),
    "a ServiceMonitor": (
        {"serviceMonitor": {"enabled": True, "apiVersion": "azmonitoring.coreos.com/v1",
                            "interval": "15s", "labels": {"i": "j"}},
         "networkPolicy": {"admin": PROMETHEUS}}, {"ServiceMonitor": 1, "Service": 2}),
    "annotations for metrics": (
        {"metrics": {"annotations": True}, "networkPolicy": {"admin": PROMETHEUS}}, {}),
    "no network policy": ({"networkPolicy": {"enabled": False}}, {"NetworkPolicy": 0}),
    "a policy for what goes out": (
        {"networkPolicy": {"egress": EGRESS}}, {"NetworkPolicy": 1}),
    "a revocation list": (
        {"revocation": {"enabled": True, "entries": [
            {"subject": "0b8c6c3e-52cb-4d0c-8d64-3d6a8e6f2a77"}]}}, {"ConfigMap": 2}),
    "an empty revocation list": ({"revocation": {"enabled": True}}, {"ConfigMap": 2}),
    "a revocation list of theirs": (
        {"revocation": {"enabled": True, "existingConfigMap": "theirs"}}, {"ConfigMap": 1}),
    "more of everything": (
        OF_A_POD | {
            "commonLabels": {"team": "data"}, "podLabels": {"a": "b"}, "podAnnotations": {"c": "d"},
            "image": {"digest": DIGEST, "pullPolicy": "Always"}, "env": ENV, "replicas": 3,
            "extraVolumes": [{"name": "more", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
            "serviceAccount": {"annotations": {"g": "h"}},
            "topologySpreadConstraints": [], "fullnameOverride": "gateway"}, {}),
    "large numbers": ({"config": {"limits": {"body_bytes": 10485760, "connections": 1000000}}}, {}),
}

POD = "Deployment spec.template.spec"
PORTS = "Service spec.ports"
# Where the values of a case are found, by kind and path; more may stand beside them.
SHOWN: dict[str, dict[str, object]] = {
    "autoscaling": {"HorizontalPodAutoscaler spec": {"minReplicas": 2, "maxReplicas": 6}},
    "a share for the budget": {"PodDisruptionBudget spec.maxUnavailable": "25%"},
    "no service account": {f"{POD}.serviceAccountName": "theirs"},
    "a managed identity": {
        "ServiceAccount metadata.annotations": {"azure.workload.identity/client-id": IDENTITY},
        "Deployment spec.template.metadata.labels": {"azure.workload.identity/use": "true"}},
    "a port for workers": {PORTS: [{"name": "execution", "port": 8082, "appProtocol": "http"}]},
    "a port for proxies that ask": {
        PORTS: [{"name": "forward-auth", "port": 8084, "appProtocol": "http"}],
        "NetworkPolicy spec.ingress": [{"ports": [{"port": "forward-auth"}], "from": PROXIES}]},
    "a port for proxies that ask by gRPC": {
        PORTS: [{"name": "forward-auth", "port": 8084, "appProtocol": "grpc"}]},
    "other ports": {PORTS: [{"name": "http", "port": 80}]},
    "a load balancer": {
        "Service metadata.annotations": INTERNAL,
        "Service spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
        "NetworkPolicy spec.ingress": [{"ports": [{"port": "http"}], "from": OUTSIDE}]},
    "an end that takes long": {f"{POD}.terminationGracePeriodSeconds": 120},
    "an admin service": {
        "Service airside-admin spec": {"clusterIP": "None", "ports": [{"port": 9090}]},
        "NetworkPolicy spec.ingress": [{"ports": [{"port": "admin"}], "from": PROMETHEUS}]},
    "an Ingress": {
        "Ingress metadata.annotations": {"an/annotation": "here"},
        "Ingress spec": {"ingressClassName": "theirs", "tls": TLS, "rules": [{"host": HOST}]}},
    "an HTTPRoute": {"HTTPRoute spec": {
        "parentRefs": ROUTE["parentRefs"], "hostnames": [HOST],
        "rules": [{"timeouts": {"request": "0s"},
                   "backendRefs": [{"name": "airside", "port": 8080}]}]}},
    "a ServiceMonitor": {
        "ServiceMonitor apiVersion": "azmonitoring.coreos.com/v1",
        "ServiceMonitor metadata.labels": {"i": "j"},
        "ServiceMonitor spec.endpoints": [{"port": "admin", "interval": "15s"}]},
    "annotations for metrics": {"Deployment spec.template.metadata.annotations": {
        "prometheus.io/scrape": "true", "prometheus.io/port": "9090",
        "prometheus.io/path": "/metrics"}},
    "a policy for what goes out": {
        "NetworkPolicy spec": {"policyTypes": ["Ingress", "Egress"], "egress": EGRESS}},
    "a revocation list": {"ConfigMap airside-revocation data": {
        "revoked.yaml": f"- subject: {IDENTITY}\n"}},
    "a revocation list of theirs": {f"{POD}.volumes": [
        {"name": "config", "projected": {"sources": [{"configMap": {"name": "theirs"}}]}}]},
    "more of everything": {
        "Deployment metadata.name": "gateway", "Deployment metadata.labels": {"team": "data"},
        "Service metadata.labels": {"team": "data"}, "Pod metadata.labels": {"team": "data"},
        "Deployment spec.template.metadata.labels": {"a": "b", "team": "data"},
        "Deployment spec.template.metadata.annotations": {"c": "d"},
        "ServiceAccount metadata.annotations": {"g": "h"}, "Deployment spec.replicas": 3,
        POD: OF_A_POD | {"volumes": [{"name": "more", "emptyDir": {}}], "containers": [{
            "image": f"registry.example/airside@{DIGEST}", "imagePullPolicy": "Always",
            "env": ENV, "volumeMounts": [{"name": "more", "mountPath": "/more"}]}]}},
}

# Values, and what Helm's answer has to name.
WRONG: dict[str, tuple[dict, list[str]]] = {
    "an unknown value": ({"replica": 3}, ["replica", "not allowed"]),
    "an unknown value of a section": ({"service": {"prot": 80}}, ["/service", "prot"]),
    "a key that airside does not have": ({"config": {"lisen": "x"}}, ["/config", "lisen"]),
    "a word that airside does not have": (
        {"config": {"access": {"docs": "ajar"}}}, ["/config/access/docs"]),
    "an issuer without a client": (
        {"config": {"issuers": [{"name": "e", "type": "entra", "tenant": "t"}]}},
        ["/config/issuers/0", "client_id"]),
    "a secret in the place of its name": ({"secrets": {"airflow": "S3CRET=="}}, ["/secrets/airflow"]),
    "a folder above": ({"secrets": {"../etc": "name"}}, ["../etc", "does not match"]),
    "text for a number": ({"replicas": "two"}, ["/replicas", "integer"]),
    "no port": ({"service": {"port": 0}}, ["/service/port"]),
    "a port of root": ({"config": {"listen": "0.0.0.0:80"}}, ["config.listen", "above 1023"]),
    "loopback": (
        {"config": {"admin": {"listen": "127.0.0.1:9090"}}}, ["config.admin.listen", "0.0.0.0"]),
    "no issuers": ({"config": {"issuers": []}}, ["config.issuers", "found nothing"]),
    "no image": ({"image": {"repository": ""}}, ["image.repository", "docs/image.md"]),
    "no digest": ({"image": {"digest": "sha256:1"}}, ["/image/digest"]),
    "no identity": ({"workloadIdentity": {"clientId": "mine"}}, ["/workloadIdentity/clientId"]),
    "another route table": ({"service": {"type": "NodePort"}}, ["/service/type"]),
    "a Gateway without a name": ({"httpRoute": {"enabled": True}}, ["httpRoute.parentRefs"]),
    "an Ingress for every host": ({"ingress": {"enabled": True}}, ["ingress.hosts"]),
    "an Ingress of no class": (
        {"ingress": INGRESS | {"className": "", "tls": TLS}}, ["ingress.className"]),
    "an Ingress without TLS": ({"ingress": INGRESS}, ["ingress.tls", HOST, "plainHttp"]),
    "an Ingress with TLS for another host": (
        {"ingress": INGRESS | {"tls": [{"secretName": "tls", "hosts": ["contoso.com"]}]}},
        ["ingress.tls", HOST]),
    "plain HTTP from an Ingress to TLS": (
        {"ingress": INGRESS | {"tls": TLS}, "config": {"tls": OWN_TLS}}, ["backend-protocol"]),
    "plain HTTP from a Gateway to TLS": (
        {"httpRoute": ROUTE, "config": {"tls": OWN_TLS}}, ["httpRoute.backendTls"]),
    "a load balancer without TLS": (
        {"service": {"type": "LoadBalancer"}, "networkPolicy": {"callers": OUTSIDE}},
        ["service.type", "config.tls", "plainHttp"]),
    "a load balancer that nobody gets through": (
        {"service": {"type": "LoadBalancer"}, "plainHttp": True},
        ["networkPolicy.callers", "ipBlock"]),
    "an end that is cut off": (
        {"config": {"drain": {"delay": "60s"}}},
        ["terminationGracePeriodSeconds", "found 30", "more than 80"]),
    "an end that is just cut off": (
        {"terminationGracePeriodSeconds": 110, "config": {"drain": {"delay": "1m30s"}}},
        ["found 110", "more than 110"]),
    "a time that it cannot add up": (
        {"config": {"drain": {"timeout": "500ms"}}}, ["config.drain.timeout", "500ms"]),
    "a label of its own for pods": (
        {"podLabels": {"app.kubernetes.io/name": "x"}}, ["app.kubernetes.io/name"]),
    "a label of its own for every object": (
        {"commonLabels": {"app.kubernetes.io/instance": "x"}}, ["app.kubernetes.io/instance"]),
    "a label twice": (
        {"commonLabels": {"team": "a"}, "podLabels": {"team": "b"}}, ["podLabels", "team"]),
    "annotations for a scrape that the policy forbids": (
        {"metrics": {"annotations": True}}, ["networkPolicy.admin", "metrics.annotations"]),
    "an address for a host": (
        {"ingress": {"enabled": True, "hosts": ["https://a"]}}, ["/ingress/hosts/0"]),
    "a scrape that the policy forbids": (
        {"serviceMonitor": {"enabled": True}}, ["networkPolicy.admin"]),
    "a policy that lets nobody in": ({"networkPolicy": {"callers": []}}, ["networkPolicy.callers"]),
    "a port for workers that nobody reaches": (
        {"config": {"execution_listen": "0.0.0.0:8082"}, "networkPolicy": {"workers": []}},
        ["networkPolicy.workers"]),
    "a port for proxies that nobody reaches": (
        {"config": {"forward_auth": {"listen": "0.0.0.0:8084"}}}, ["networkPolicy.askers"]),
    "a list that is not in force": (
        {"revocation": {"entries": [{"jti": "x"}]}}, ["revocation.enabled"]),
    "two lists": (
        {"revocation": {"enabled": True, "entries": [{"jti": "x"}], "existingConfigMap": "theirs"}},
        ["revocation:", "one of them"]),
    "a list twice": (
        {"revocation": {"enabled": True}, "config": {"revocation": {"file": "/x"}}},
        ["config.revocation"]),
    "a scale of nothing": (
        {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}},
        ["resources.requests.cpu"]),
    "more at least than at most": (
        {"autoscaling": {"enabled": True, "minReplicas": 9}}, ["autoscaling.minReplicas"]),
    "a policy of a load balancer alone": (
        {"service": {"externalTrafficPolicy": "Local"}}, ["service.externalTrafficPolicy"]),
}

IMAGE = {"repository": "registry.example/airside"}
ISSUERS = [{"name": "e", "type": "entra", **dict.fromkeys(["tenant", "client_id"], "an id")}]
UPSTREAM = {"url": "http://airflow-api-server:8080"}
# Without the example's values.
INCOMPLETE: dict[str, tuple[dict, list[str]]] = {
    "no values": ({}, ["found nothing, expected"]),
    "values without an issuer": ({"image": IMAGE, "config": {"upstream": UPSTREAM}}, ["config."]),
    "values without an upstream": (
        {"image": IMAGE, "config": {"issuers": ISSUERS, "handoff": {"type": "headers"}}},
        ["config.upstream", "Airflow's address"]),
    "values without a hand-off": (
        {"image": IMAGE, "config": {"issuers": ISSUERS, "upstream": UPSTREAM}},
        ["config.handoff", "how Airflow is told"]),
}
