{{/* The labels of every object, and those by which the Pods are found. */}}
{{- define "portolan.labels" -}}
app.kubernetes.io/name: portolan
{{- end }}

{{/* An image's reference, from a dict with registry, repository, tag and digest. */}}
{{- define "portolan.reference" -}}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}
{{- if .tag }}:{{ .tag }}{{ end }}
{{- if .digest }}@{{ .digest }}{{ end }}
{{- end }}

{{/* Portolan's own image. A tag is made up only where nothing says which version it is. */}}
{{- define "portolan.image" -}}
{{- $image := .Values.image }}
{{- $tag := $image.tag }}
{{- if not (or $tag $image.digest) }}{{ $tag = .Chart.AppVersion }}{{ end }}
{{- include "portolan.reference" (dict "registry" $image.registry "repository" $image.repository "tag" $tag "digest" $image.digest) }}
{{- end }}

{{/* The image of `helm test`: Portolan's own, but for what is set. */}}
{{- define "portolan.testImage" -}}
{{- $image := deepCopy .Values.image }}
{{- range $key, $value := .Values.test.image }}
{{- if not (kindIs "invalid" $value) }}
{{- /* Another repository or version is another image: what names the version of Portolan's does not count for it. */}}
{{- if has $key (list "repository" "tag" "digest") }}{{ $image = omit $image "tag" "digest" }}{{ end }}
{{- end }}
{{- end }}
{{- range $key, $value := .Values.test.image }}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $image $key $value }}{{ end }}
{{- end }}
{{- $chart := .Chart }}
{{- include "portolan.image" (dict "Values" (dict "image" $image) "Chart" $chart) }}
{{- end }}

{{/* What the containers of `helm test` have in common. */}}
{{- define "portolan.testContainer" -}}
image: {{ include "portolan.testImage" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
resources:
  requests:
    cpu: 10m
    memory: 32Mi
  limits:
    cpu: "1"
    memory: 128Mi
securityContext:
  {{- include "portolan.containerSecurity" . | nindent 2 }}
{{- end }}

{{/* Whether the cluster is an OpenShift: a text, empty for no. */}}
{{- define "portolan.openshift" -}}
{{- if eq .Values.openshift "enabled" }}yes
{{- else if and (eq .Values.openshift "auto") (.Capabilities.APIVersions.Has "security.openshift.io/v1") }}yes
{{- end }}
{{- end }}

{{/* A container's rights: none. */}}
{{- define "portolan.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* A Pod's user: the image's, unless OpenShift chooses one. */}}
{{- define "portolan.podSecurity" -}}
runAsNonRoot: true
{{- if not (include "portolan.openshift" .) }}
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The `caBundle` itself, where it is known. */}}
{{- define "portolan.caBundle" -}}
{{- if and (eq .Values.certificate.source "secret") .Values.certificate.ca -}}
caBundle: {{ .Values.certificate.ca | b64enc }}
{{- end }}
{{- end }}

{{/* What asks cert-manager for it. */}}
{{- define "portolan.injectCa" -}}
{{- if eq .Values.certificate.source "cert-manager" -}}
annotations:
  # The API server then trusts what issued this certificate.
  cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/portolan-tls
{{- end }}
{{- end }}
