{{/* The name of the objects: the release's, unless it has the chart's in it already. */}}
{{- define "airside.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if contains $name .Release.Name }}{{ $full = .Release.Name }}{{ end -}}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects the pods; a Deployment's selector never changes. */}}
{{- define "airside.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "airside.labels" -}}
{{ include "airside.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "airside.serviceAccount" -}}
{{- $made := ternary (include "airside.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $made .Values.serviceAccount.name -}}
{{- end -}}

{{- define "airside.image" -}}
{{- $image := .Values.image -}}
{{- $repository := required "image.repository: found nothing, expected where your airside image is: none is published, docs/image.md says how to build and push one" $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/* Where proxies ask, if they do. */}}
{{- define "airside.asked" -}}
{{ dig "forward_auth" "listen" "" .Values.config }}
{{- end -}}

{{/* The port of an address and port; empty for none. */}}
{{- define "airside.port" -}}
{{- with . }}{{ splitList ":" . | last }}{{ end -}}
{{- end -}}

{{/* The configuration as airside reads it: config, and where the chart puts the revocation list. */}}
{{- define "airside.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.revocation.enabled -}}
{{- $_ := set $config "revocation" (dict "file" "/etc/airside/revocation/revoked.yaml") -}}
{{- end -}}
{{ toYaml $config }}
{{- end -}}

{{/* What the schema cannot say of one value, because another decides. */}}
{{- define "airside.check" -}}
{{- $values := .Values -}}
{{- range $key, $why := dict "upstream" "Airflow's address" "issuers" "who gives callers their tokens" "handoff" "how Airflow is told who is calling" -}}
{{- if not (get $values.config $key) -}}
{{- fail (printf "config.%s: found nothing, expected %s; README.md of the chart has an example" $key $why) -}}
{{- end -}}
{{- end -}}
{{- range $key, $listen := dict "listen" $values.config.listen "admin.listen" $values.config.admin.listen "execution_listen" $values.config.execution_listen "forward_auth.listen" (include "airside.asked" $) -}}
{{- if $listen -}}
{{- if not (regexMatch "^(0\\.0\\.0\\.0|\\[::\\]):[0-9]+$" $listen) -}}
{{- fail (printf "config.%s: found %q, expected 0.0.0.0 (or [::]) and a port above 1023: a Service and the kubelet come from outside the pod" $key $listen) -}}
{{- end -}}
{{- if lt (include "airside.port" $listen | int) 1024 -}}
{{- fail (printf "config.%s: found %q, expected a port above 1023: the container has no right to lower ones" $key $listen) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.revocation.enabled $values.config.revocation -}}
{{- fail "config.revocation: expected nothing beside revocation.enabled, which sets it" -}}
{{- end -}}
{{- if and $values.revocation.entries $values.revocation.existingConfigMap -}}
{{- fail "revocation: found entries and existingConfigMap, expected one of them" -}}
{{- end -}}
{{- if and (or $values.revocation.entries $values.revocation.existingConfigMap) (not $values.revocation.enabled) -}}
{{- fail "revocation.enabled: found false beside a list, expected true: nobody on the list would be refused" -}}
{{- end -}}
{{- if and $values.autoscaling.enabled (not (dig "requests" "cpu" "" $values.resources)) -}}
{{- fail "resources.requests.cpu: found nothing, expected an amount: autoscaling goes by its percentage" -}}
{{- end -}}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas: expected no more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and $values.serviceMonitor.enabled $values.networkPolicy.enabled (not $values.networkPolicy.admin) -}}
{{- fail "networkPolicy.admin: found nobody, expected the namespace of Prometheus: serviceMonitor is enabled and could not scrape" -}}
{{- end -}}
{{- if and $values.adminService.enabled $values.networkPolicy.enabled (not $values.networkPolicy.admin) -}}
{{- fail "networkPolicy.admin: found nobody, expected who is to reach the adminService that is enabled" -}}
{{- end -}}
{{- if and $values.networkPolicy.enabled (not $values.networkPolicy.callers) -}}
{{- fail "networkPolicy.callers: found nobody, expected who may call, as `from` of a NetworkPolicy: [{namespaceSelector: {}}] for the whole cluster" -}}
{{- end -}}
{{- if and $values.networkPolicy.enabled $values.config.execution_listen (not $values.networkPolicy.workers) -}}
{{- fail "networkPolicy.workers: found nobody, expected Airflow's pods: config.execution_listen is set" -}}
{{- end -}}
{{- if and $values.networkPolicy.enabled (include "airside.asked" .) (not $values.networkPolicy.askers) -}}
{{- fail "networkPolicy.askers: found nobody, expected the proxies that ask: config.forward_auth.listen is set" -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.ingress.hosts) -}}
{{- fail "ingress.hosts: found nothing, expected host names: an Ingress without them takes every host" -}}
{{- end -}}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: found nothing, expected the Gateway: [{name: …, namespace: …}]" -}}
{{- end -}}
{{- if and $values.service.externalTrafficPolicy (ne $values.service.type "LoadBalancer") -}}
{{- fail (printf "service.externalTrafficPolicy: found %q with type %s, expected it with LoadBalancer alone" $values.service.externalTrafficPolicy $values.service.type) -}}
{{- end -}}
{{- end -}}
