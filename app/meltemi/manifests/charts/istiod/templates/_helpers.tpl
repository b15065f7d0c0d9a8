{{- define "suffix" -}}
{{- if and .Values.revision (ne .Values.revision "default") }}-{{ .Values.revision }}{{ end -}}
{{- end -}}

{{- define "revision" -}}
{{- .Values.revision | default "default" -}}
{{- end -}}

{{- define "labels" -}}
app: istiod
istio.io/rev: {{ include "revision" . }}
release: {{ .Release.Name }}
app.kubernetes.io/name: istiod
app.kubernetes.io/part-of: istio
{{- end -}}

{{- define "image" -}}
{{- if contains "/" .Values.image -}}
{{ .Values.image }}
{{- else -}}
{{ .Values.hub | default .Values.global.hub }}/{{ .Values.image }}:{{ .Values.tag | default .Values.global.tag }}{{ with .Values.global.variant }}-{{ . }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "mesh" -}}
defaultConfig:
  discoveryAddress: istiod{{ include "suffix" . }}.{{ .Values.global.istioNamespace }}.svc:15012
{{- with .Values.global.meshID }}
  meshId: {{ . }}
{{- end }}
{{- if .Values.global.network }}
  proxyMetadata:
    ISTIO_META_NETWORK: {{ .Values.global.network | quote }}
{{- end }}
defaultProviders:
  metrics:
  - prometheus
enablePrometheusMerge: true
rootNamespace: {{ .Values.global.istioNamespace }}
trustDomain: cluster.local
{{- end -}}
