{{/* What the schema cannot say of one value, because another decides. */}}
{{- define "airside.check" -}}
{{- include "airside.check.config" . -}}
{{- include "airside.check.pods" . -}}
{{- include "airside.check.policy" . -}}
{{- include "airside.check.ways" . -}}
{{- end -}}

{{/* What airside needs, where it listens, and its revocation list. */}}
{{- define "airside.check.config" -}}
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
{{- end -}}

{{/* How many pods, for how long, under which labels. */}}
{{- define "airside.check.pods" -}}
{{- $values := .Values -}}
{{- if and $values.autoscaling.enabled (not (dig "requests" "cpu" "" $values.resources)) -}}
{{- fail "resources.requests.cpu: found nothing, expected an amount: autoscaling goes by its percentage" -}}
{{- end -}}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas: expected no more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- $delay := include "airside.seconds" (dict "key" "delay" "text" (dig "drain" "delay" "5s" $values.config)) | int -}}
{{- $timeout := include "airside.seconds" (dict "key" "timeout" "text" (dig "drain" "timeout" "20s" $values.config)) | int -}}
{{- if le (int $values.terminationGracePeriodSeconds) (add $delay $timeout | int) -}}
{{- fail (printf "terminationGracePeriodSeconds: found %d, expected more than %d: a pod drains for config.drain.delay and then config.drain.timeout, and would be killed before their end" (int $values.terminationGracePeriodSeconds) (add $delay $timeout | int)) -}}
{{- end -}}
{{- range $key := keys $values.podLabels -}}
{{- if hasKey $values.commonLabels $key -}}
{{- fail (printf "podLabels: found %q, expected it there or in commonLabels: a label has one value" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The seconds of one of airside's durations, of hours, minutes and seconds. */}}
{{- define "airside.seconds" -}}
{{- $text := nospace .text -}}
{{- if not (regexMatch "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$" $text) -}}
{{- fail (printf "config.drain.%s: found %q, expected hours, minutes and seconds, such as 1m30s: terminationGracePeriodSeconds goes by it" .key .text) -}}
{{- end -}}
{{- $sum := 0 -}}
{{- range $unit, $seconds := dict "h" 3600 "m" 60 "s" 1 -}}
{{- $sum = add $sum (mul (regexFind (printf "[0-9]+%s" $unit) $text | trimSuffix $unit | default "0" | atoi) $seconds) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* Whom the network policy has to let in for what else is set. */}}
{{- define "airside.check.policy" -}}
{{- $values := .Values -}}
{{- if and $values.metrics.annotations $values.networkPolicy.enabled (not $values.networkPolicy.admin) -}}
{{- fail "networkPolicy.admin: found nobody, expected the namespace of Prometheus: metrics.annotations is set and it could not scrape" -}}
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
{{- end -}}

{{/* How callers come here: over TLS, and to where they are let in. */}}
{{- define "airside.check.ways" -}}
{{- $values := .Values -}}
{{- if and $values.ingress.enabled (not $values.ingress.hosts) -}}
{{- fail "ingress.hosts: found nothing, expected host names: an Ingress without them takes every host" -}}
{{- end -}}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: found nothing, expected the Gateway: [{name: …, namespace: …}]" -}}
{{- end -}}
{{- if and $values.service.externalTrafficPolicy (ne $values.service.type "LoadBalancer") -}}
{{- fail (printf "service.externalTrafficPolicy: found %q with type %s, expected it with LoadBalancer alone" $values.service.externalTrafficPolicy $values.service.type) -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.ingress.className) -}}
{{- fail "ingress.className: found nothing, expected the class of your ingress controller, as `kubectl get ingressclass` lists it" -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.plainHttp) -}}
{{- $named := list -}}
{{- range $values.ingress.tls }}{{ $named = concat $named (default list .hosts) }}{{ end -}}
{{- range $host := $values.ingress.hosts -}}
{{- if not (or (has $host $named) (has (regexReplaceAll "^[^.]+" $host "*") $named)) -}}
{{- fail (printf "ingress.tls: found nothing for host %q, expected [{hosts: [%s], secretName: …}]: callers' tokens would come over plain HTTP; plainHttp: true where TLS ends in front" $host $host) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.ingress.enabled $values.config.tls -}}
{{- $https := false -}}
{{- range $key, $value := $values.ingress.annotations -}}
{{- if and (hasSuffix "/backend-protocol" $key) (eq (lower $value) "https") }}{{ $https = true }}{{ end -}}
{{- end -}}
{{- if not $https -}}
{{- fail "ingress.annotations: found no …/backend-protocol: HTTPS, expected it beside config.tls: the ingress would speak plain HTTP to airside" -}}
{{- end -}}
{{- end -}}
{{- if and $values.httpRoute.enabled $values.config.tls (not $values.httpRoute.backendTls) -}}
{{- fail "httpRoute.backendTls: found false beside config.tls, expected true, and a BackendTLSPolicy of yours for the Service: the gateway would speak plain HTTP to airside" -}}
{{- end -}}
{{- if and (eq $values.service.type "LoadBalancer") (not $values.config.tls) (not $values.plainHttp) -}}
{{- fail "service.type: found LoadBalancer without config.tls, expected config.tls: callers' tokens would come over plain HTTP; plainHttp: true where TLS ends in front" -}}
{{- end -}}
{{- if and (eq $values.service.type "LoadBalancer") $values.networkPolicy.enabled -}}
{{- $blocks := list -}}
{{- range $values.networkPolicy.callers }}{{ with .ipBlock }}{{ $blocks = append $blocks . }}{{ end }}{{ end -}}
{{- if not $blocks -}}
{{- fail "networkPolicy.callers: found no ipBlock, expected one beside service.type LoadBalancer: callers from outside are no pods of the cluster, and nobody would get in" -}}
{{- end -}}
{{- end -}}
{{- end -}}
