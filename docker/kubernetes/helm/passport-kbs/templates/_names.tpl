{{- define "kbs.name" -}}
{{- default .Values.program .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "kbs.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "kbs.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "kbs.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Names of StatefulSets have 52 characters at most: their pods carry them in a label, with a hash. */}}
{{- define "kbs.redisName" -}}
{{- printf "%s-redis" (include "kbs.fullname" . | trunc 46 | trimSuffix "-") }}
{{- end }}

{{/* Of a Job: 63 characters at most, its suffix always whole. A number of a values file would be written as 2e+07. */}}
{{- define "kbs.rewrapJobName" -}}
{{- $suffix := .Values.rewrap.suffix -}}
{{- if kindIs "float64" $suffix }}{{ $suffix = int64 $suffix }}{{ end -}}
{{- $tail := printf "-rewrap-%v" $suffix -}}
{{- include "kbs.fullname" . | trunc (int (sub 63 (len $tail))) | trimSuffix "-" }}{{ $tail }}
{{- end }}

{{- define "kbs.serviceAccountName" -}}
{{- default (include "kbs.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "kbs.selectorLabels" -}}
app.kubernetes.io/name: {{ include "kbs.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: kbs
{{- end }}

{{- define "kbs.labels" -}}
{{ include "kbs.selectorLabels" . }}
{{ include "kbs.commonLabels" . }}
{{- end }}

{{/* Of the Service that Prometheus finds; the pods are those of the program. */}}
{{- define "kbs.metricsSelectorLabels" -}}
app.kubernetes.io/name: {{ include "kbs.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: metrics
{{- end }}

{{- define "kbs.metricsLabels" -}}
{{ include "kbs.metricsSelectorLabels" . }}
{{ include "kbs.commonLabels" . }}
{{- end }}

{{- define "kbs.redisSelectorLabels" -}}
app.kubernetes.io/name: {{ include "kbs.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: redis
{{- end }}

{{- define "kbs.redisLabels" -}}
{{ include "kbs.redisSelectorLabels" . }}
{{ include "kbs.commonLabels" . }}
{{- end }}

{{- define "kbs.rewrapLabels" -}}
app.kubernetes.io/name: {{ include "kbs.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: rewrap
{{- end }}

{{- define "kbs.commonLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/part-of: passport-kbs
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "kbs.image" -}}
{{- $repository := default (printf "passport-kbs/%s" .Values.program) .Values.image.repository -}}
{{ $repository }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* What the restricted Pod Security Standard asks of a container, and a root file system that nobody writes to. */}}
{{- define "kbs.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "kbs.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Where pods of any kind may be pulled from and put. */}}
{{- define "kbs.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
