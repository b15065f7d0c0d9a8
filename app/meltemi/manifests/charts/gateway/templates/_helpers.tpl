{{- define "labels" -}}
{{ toYaml .Values.labels }}
istio.io/rev: {{ .Values.revision | default "default" }}
release: {{ .Release.Name }}
{{- end -}}
