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
