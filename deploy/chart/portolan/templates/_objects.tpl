{{/*
The objects of deploy/ as this release has them. They are read from files/, which links to deploy/, so that each is written once; here the
release's namespace, its labels and the values are put in. Every function takes an object (a dict) and changes it.
*/}}

{{/* The objects of the kinds `kinds` that the release's scope has. */}}
{{- define "portolan.objects" -}}
{{- $root := .root -}}
{{- $namespaced := eq $root.Values.scope "namespaced" -}}
{{- $text := $root.Files.Get "files/cluster.yaml" -}}
{{- if $namespaced -}}{{- $text = printf "%s\n---\n%s" $text ($root.Files.Get "files/namespaced.yaml") -}}{{- end -}}
{{- if $root.Values.adopt.enabled -}}{{- $text = printf "%s\n---\n%s" $text ($root.Files.Get (ternary "files/adopt-namespaced.yaml" "files/adopt.yaml" $namespaced)) -}}{{- end -}}
{{- if or $root.Values.policies.enabled $root.Values.policies.watchSelector -}}{{- $text = printf "%s\n---\n%s" $text ($root.Files.Get "files/policy.yaml") -}}{{- end -}}
{{- $outside := list "ClusterRole" "ClusterRoleBinding" "ValidatingAdmissionPolicy" "ValidatingAdmissionPolicyBinding" -}}
{{- range $value, $kind := fromYaml (include "portolan.annotated" $root) -}}
{{- if (index $root.Values $value).enabled -}}{{- $text = printf "%s\n---\n%s" $text ($root.Files.Get (printf "files/%s.yaml" $kind.file)) -}}{{- end -}}
{{- end -}}
{{- range splitList "\n---\n" $text -}}
{{- $object := fromYaml . -}}
{{- if and (has $object.kind $.kinds) (not (and $namespaced (has $object.kind $outside))) -}}
{{- include "portolan.place" (dict "root" $root "object" $object "namespace" $root.Release.Namespace) -}}
{{- if eq $object.kind "Deployment" -}}{{- include "portolan.deployment" (dict "root" $root "object" $object) -}}{{- end -}}
{{- if eq $object.kind "ServiceAccount" -}}{{- include "portolan.annotate" (dict "object" $object "annotations" $root.Values.serviceAccount.annotations) -}}{{- end -}}
{{- if eq $object.kind "Service" -}}
{{- include "portolan.annotate" (dict "object" $object "annotations" $root.Values.service.annotations) -}}
{{- include "portolan.ports" (dict "root" $root "object" $object) -}}
{{- end -}}
{{- if and (eq $object.kind "NetworkPolicy") $root.Values.metricsPort.enabled -}}
{{- $from := list (dict "namespaceSelector" (dict "matchLabels" (dict "portolan.dev/scrapes" "allowed"))) -}}
{{- $rule := dict "from" $from "ports" (list (dict "port" "metrics" "protocol" "TCP")) -}}
{{- $_ := set $object.spec "ingress" (append $object.spec.ingress $rule) -}}
{{- end }}
---
{{ toYaml $object }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The values that let Portolan write objects of other projects: which file has the rights, and which setting switches it on. */}}
{{- define "portolan.annotated" -}}
workloadEntries: {file: workload-entries, setting: PORTOLAN_WORKLOAD_ENTRIES}
externalWorkloads: {file: external-workloads, setting: PORTOLAN_EXTERNAL_WORKLOADS}
dnsEndpoints: {file: dns-endpoints, setting: PORTOLAN_DNS_ENDPOINTS}
{{- end -}}

{{/* Labels of every object; the pods of a Deployment have those that no upgrade of the chart alone changes. */}}
{{- define "portolan.labels" -}}
app.kubernetes.io/name: portolan
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: registry
app.kubernetes.io/part-of: portolan
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* Puts labels on the object, and the release's namespace wherever one is named. */}}
{{- define "portolan.place" -}}
{{- $object := .object -}}
{{- $outside := list "ClusterRole" "ClusterRoleBinding" "ValidatingAdmissionPolicy" "ValidatingAdmissionPolicyBinding" -}}
{{- $labels := merge (fromYaml (include "portolan.labels" .root)) (dict "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")) -}}
{{- $_ := set $object.metadata "labels" (merge $labels (default dict $object.metadata.labels)) -}}
{{- if not (has $object.kind $outside) -}}{{- $_ := set $object.metadata "namespace" .namespace -}}{{- end -}}
{{- range $object.subjects -}}{{- $_ := set . "namespace" $.root.Release.Namespace -}}{{- end -}}
{{- if eq $object.kind "ValidatingAdmissionPolicyBinding" -}}{{- $_ := set $object.spec.paramRef "namespace" .root.Release.Namespace -}}{{- end -}}
{{- end -}}

{{- define "portolan.annotate" -}}
{{- if .annotations -}}{{- $_ := set .object.metadata "annotations" (merge (deepCopy .annotations) (default dict .object.metadata.annotations)) -}}{{- end -}}
{{- end -}}

{{/* The Service's ports, as the components tls and metrics-port have them. */}}
{{- define "portolan.ports" -}}
{{- $spec := .object.spec -}}
{{- if .root.Values.tls.enabled -}}
{{- $_ := set $spec "ports" (prepend (rest $spec.ports) (dict "name" "https" "port" 443 "targetPort" "http" "protocol" "TCP")) -}}
{{- end -}}
{{- if .root.Values.metricsPort.enabled -}}
{{- $_ := set $spec "ports" (append $spec.ports (dict "name" "metrics" "port" 9464 "targetPort" "metrics" "protocol" "TCP")) -}}
{{- end -}}
{{- end -}}

{{- define "portolan.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}{{ $image.repository }}@{{ $image.digest }}{{- else -}}{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}{{- end -}}
{{- end -}}

{{/* The settings that follow from other values, and those of `settings`, which win. */}}
{{- define "portolan.settings" -}}
{{- $settings := dict -}}
{{- if and (eq .Values.scope "namespaced") .Values.restNamespaces -}}
{{- fail "restNamespaces: with scope=namespaced Portolan keeps to its own namespace" -}}
{{- end -}}
{{- if and (eq .Values.scope "namespaced") (or .Values.policies.enabled .Values.policies.watchSelector) -}}
{{- fail "policies: with scope=namespaced Portolan has no rights to read policies and namespaces" -}}
{{- end -}}
{{- if .Values.policies.enabled -}}{{- $_ := set $settings "PORTOLAN_POLICIES" "true" -}}{{- end -}}
{{- with .Values.policies.watchSelector -}}{{- $_ := set $settings "PORTOLAN_WATCH_SELECTOR" . -}}{{- end -}}
{{- if .Values.adopt.enabled -}}{{- $_ := set $settings "PORTOLAN_ADOPT" "true" -}}{{- end -}}
{{- if .Values.tls.enabled -}}
{{- $_ := set $settings "PORTOLAN_TLS_CERT" "/etc/portolan/tls/tls.crt" -}}
{{- $_ := set $settings "PORTOLAN_TLS_KEY" "/etc/portolan/tls/tls.key" -}}
{{- if .Values.tls.ca -}}{{- $_ := set $settings "PORTOLAN_TLS_PEER_CA" "/etc/portolan/tls/ca.crt" -}}{{- end -}}
{{- end -}}
{{- if .Values.metricsPort.enabled -}}{{- $_ := set $settings "PORTOLAN_METRICS_ADDRESS" "[::]:9464" -}}{{- end -}}
{{- range $value, $kind := fromYaml (include "portolan.annotated" .) -}}
{{- if (index $.Values $value).enabled -}}
{{- if eq $.Values.scope "namespaced" -}}{{- fail (printf "%s.enabled: with scope=namespaced Portolan has no rights to read these objects" $value) -}}{{- end -}}
{{- $_ := set $settings $kind.setting "true" -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.scope "namespaced" -}}{{- $_ := set $settings "PORTOLAN_WATCH_NAMESPACES" "$(POD_NAMESPACE)" -}}{{- end -}}
{{- if .Values.restNamespaces -}}{{- $_ := set $settings "PORTOLAN_REST_NAMESPACES" (prepend (without .Values.restNamespaces .Release.Namespace) .Release.Namespace | join ",") -}}{{- end -}}
{{- if .Values.publish.enabled -}}
{{- if ne .Values.scope "cluster" -}}{{- fail "publish: needs scope=cluster" -}}{{- end -}}
{{- $_ := set $settings "PORTOLAN_PUBLISH" "true" -}}
{{- if .Values.publish.deny -}}{{- $_ := set $settings "PORTOLAN_PUBLISH_DENY" (join "," .Values.publish.deny) -}}{{- end -}}
{{- end -}}
{{- range $name, $value := .Values.settings -}}
{{- /* A number arrives as float64, which would be written as 1e+06. */ -}}
{{- if kindIs "float64" $value -}}{{- $value = int64 $value -}}{{- end -}}
{{- $_ := set $settings $name (toString $value) -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{- define "portolan.deployment" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $template := .object.spec.template -}}
{{- $pod := $template.spec -}}
{{- $container := first $pod.containers -}}
{{- $_ := set .object.spec "replicas" $values.replicas -}}
{{- $labels := merge (fromYaml (include "portolan.labels" $root)) (deepCopy $values.podLabels) $template.metadata.labels -}}
{{- $_ := set $template.metadata "labels" $labels -}}
{{- if $values.podAnnotations -}}{{- $_ := set $template.metadata "annotations" $values.podAnnotations -}}{{- end -}}
{{- $_ := set $container "image" (include "portolan.image" $root) -}}
{{- with $values.image.pullPolicy -}}{{- $_ := set $container "imagePullPolicy" . -}}{{- end -}}
{{- range $values.image.pullSecrets -}}{{- $_ := set $pod "imagePullSecrets" (append (default list $pod.imagePullSecrets) (dict "name" .)) -}}{{- end -}}
{{- range list "nodeSelector" "tolerations" "affinity" "priorityClassName" -}}
{{- if index $values . -}}{{- $_ := set $pod . (index $values .) -}}{{- end -}}
{{- end -}}
{{- $_ := set $container "resources" (merge (deepCopy $values.resources) $container.resources) -}}
{{- range $pod.volumes -}}{{- if eq .name "jwt" -}}{{- $_ := set .secret "secretName" $values.jwtSecret -}}{{- end -}}{{- end -}}
{{- if $values.tls.enabled -}}
{{- /* The kubelet verifies no certificate and shows none; these paths need none. */ -}}
{{- range list "startupProbe" "livenessProbe" "readinessProbe" -}}{{- $_ := set (index $container .).httpGet "scheme" "HTTPS" -}}{{- end -}}
{{- $mount := dict "name" "tls" "mountPath" "/etc/portolan/tls" "readOnly" true -}}
{{- $_ := set $container "volumeMounts" (append $container.volumeMounts $mount) -}}
{{- $volume := dict "name" "tls" "secret" (dict "secretName" $values.tls.secret "defaultMode" 288) -}}
{{- $_ := set $pod "volumes" (append $pod.volumes $volume) -}}
{{- end -}}
{{- if $values.metricsPort.enabled -}}
{{- $_ := set $container "ports" (append $container.ports (dict "name" "metrics" "containerPort" 9464 "protocol" "TCP")) -}}
{{- end -}}
{{- $env := $container.env -}}
{{- range $name, $value := fromYaml (include "portolan.settings" $root) -}}
{{- $found := false -}}
{{- range $env -}}
{{- if eq .name $name -}}
{{- $found = true -}}
{{- if .valueFrom -}}{{- fail (printf "settings.%s: the chart sets this one itself" $name) -}}{{- end -}}
{{- $_ := set . "value" $value -}}
{{- end -}}
{{- end -}}
{{- if not $found -}}{{- $env = append $env (dict "name" $name "value" $value) -}}{{- end -}}
{{- end -}}
{{- $_ := set $container "env" $env -}}
{{- end -}}
