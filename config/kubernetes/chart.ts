import { stringify } from 'yaml'

/** An object of a manifest, as far as anything is known of it. */
export type Manifest = {
  kind: string
  metadata: { name: string; namespace?: string; annotations?: Record<string, string> }
  [field: string]: unknown
}

/** The files of the chart that are made of the manifests, by path. */
export type ChartFiles = Readonly<Record<string, string>>

// biome-ignore lint/suspicious/noExplicitAny: manifests are edited in place, at paths that a test renders.
type Loose = any

const NAMESPACE = 'tenantry'
const SETTINGS = 'tenantry-runtime-settings'
/** Kinds that a cluster has once, whatever the number of platforms in it. */
const OF_CLUSTER = ['CustomResourceDefinition', 'ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding']
// Helm reads YAML 1.1, to which a bare y or n is a boolean: without quotes fields of these names are lost.
const WRITTEN = { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false } as const
const TOLD = '# Made of the manifests by `make chart`: change those.\n'

/**
 * The chart's templates and preset values, made of the manifests of an overlay: what a value sets is put in the place of what stands there,
 * which becomes the preset. Throws when the manifests lack what values set.
 */
export function chartOf(manifests: readonly Manifest[], version: string): ChartFiles {
  const copies = structuredClone(manifests).filter(({ kind }) => kind !== 'Namespace')
  const values = presets(copies)
  const expressions: string[] = []
  const place = (expression: string): string => `@@${expressions.push(expression) - 1}@@`
  parametrise(copies, place)
  const [cluster, own] = [copies.filter(isOfCluster), copies.filter((one) => !isOfCluster(one))]
  const text = (objects: readonly Manifest[]) => filled(objects.map((one) => stringify(one, WRITTEN)).join('---\n'), expressions)
  return {
    'Chart.yaml': stringify({ ...ABOUT, version, appVersion: version }),
    'values.yaml': `${TOLD}${stringify(values)}`,
    'templates/cluster.yaml': `{{- if .Values.cluster }}\n${TOLD}${text(cluster)}{{- end }}\n`,
    'templates/platform.yaml': `${TOLD}${text(own)}`,
  }
}

const ABOUT = {
  apiVersion: 'v2',
  name: 'tenantry',
  description: 'Tenants as Kubernetes resources: an operator that provisions them on Postgres, and a runtime that serves them',
  type: 'application',
  kubeVersion: '>=1.30.0-0',
}

function isOfCluster({ kind }: Manifest): boolean {
  return OF_CLUSTER.includes(kind)
}

function find(manifests: readonly Manifest[], kind: string, name: string): Loose {
  const found = manifests.find((one) => one.kind === kind && one.metadata.name.startsWith(name))
  if (found === undefined) throw new Error(`the manifests have no ${kind} ${name}`)
  return found
}

function containerOf(manifests: readonly Manifest[], program: string): Loose {
  return find(manifests, 'Deployment', `tenantry-${program}`).spec.template.spec.containers[0]
}

function presets(manifests: readonly Manifest[]): object {
  const scaler = find(manifests, 'HorizontalPodAutoscaler', 'tenantry-runtime').spec
  const operator = containerOf(manifests, 'operator')
  const repository = ({ image }: { image: string }) => image.replace(/:[^:/]*$/, '')
  const environment = (operator.env ?? []).filter(({ value }: Loose) => value !== undefined)
  return {
    cluster: true,
    runtime: {
      image: repository(containerOf(manifests, 'runtime')),
      tag: '',
      settings: find(manifests, 'ConfigMap', SETTINGS).data,
      replicas: { min: scaler.minReplicas, max: scaler.maxReplicas },
      inFlight: scaler.metrics.some(({ type }: Loose) => type === 'Pods'),
      resources: containerOf(manifests, 'runtime').resources,
    },
    operator: {
      image: repository(operator),
      tag: '',
      settings: Object.fromEntries(environment.map(({ name, value }: Loose) => [name, value])),
      replicas: find(manifests, 'Deployment', 'tenantry-operator').spec.replicas,
      resources: operator.resources,
    },
  }
}

/** Puts what a value decides in the place of what stands there. */
function parametrise(manifests: Manifest[], place: (expression: string) => string): void {
  const namespace = place('{{ .Release.Namespace }}')
  for (const manifest of manifests) renameNamespace(manifest, namespace)
  // What protects Tenants stays as long as they do.
  for (const { metadata } of manifests.filter(isOfCluster))
    metadata.annotations = { ...metadata.annotations, 'helm.sh/resource-policy': 'keep' }
  for (const program of ['runtime', 'operator']) {
    const container = containerOf(manifests, program)
    container.image = place(`{{ .Values.${program}.image }}:{{ .Values.${program}.tag | default .Chart.AppVersion }}`)
    container.resources = place(`{{- toYaml .Values.${program}.resources | nindent 12 }}`)
  }
  setRuntime(manifests, place)
  setOperator(manifests, place)
}

function setRuntime(manifests: Manifest[], place: (expression: string) => string): void {
  const config = find(manifests, 'ConfigMap', SETTINGS)
  config.metadata.name = SETTINGS
  config.data = place(
    '{{- range $name, $value := .Values.runtime.settings }}\n  {{ $name }}: {{ $value | quote }}\n{{- else }} {}\n{{- end }}',
  )
  const { template } = find(manifests, 'Deployment', 'tenantry-runtime').spec
  // Other settings are other pods, as kustomize has it by the name of the ConfigMap.
  template.metadata.annotations = { 'tenantry.dev/settings': place('{{ toJson .Values.runtime.settings | sha256sum }}') }
  for (const source of template.spec.containers[0].envFrom) if (source.configMapRef !== undefined) source.configMapRef.name = SETTINGS
  const { spec } = find(manifests, 'HorizontalPodAutoscaler', 'tenantry-runtime')
  spec.minReplicas = place('{{ .Values.runtime.replicas.min }}')
  spec.maxReplicas = place('{{ .Values.runtime.replicas.max }}')
  const inFlight = spec.metrics.filter(({ type }: Loose) => type === 'Pods')
  const metrics = stringify(inFlight, { lineWidth: 0 }).trimEnd().replaceAll(/^/gm, '    ')
  spec.metrics = [
    ...spec.metrics.filter(({ type }: Loose) => type !== 'Pods'),
    place(`{{- if .Values.runtime.inFlight }}\n${metrics}\n    {{- end }}`),
  ]
}

// A map, so that no name can stand twice, which Helm 4 could not apply.
function setOperator(manifests: Manifest[], place: (expression: string) => string): void {
  find(manifests, 'Deployment', 'tenantry-operator').spec.replicas = place('{{ .Values.operator.replicas }}')
  const container = containerOf(manifests, 'operator')
  const kept = (container.env ?? []).filter(({ value }: Loose) => value === undefined)
  if (kept.length > 0) throw new Error('the operator has settings that come from elsewhere: the chart must learn of them')
  container.env = place(
    '{{- range $name, $value := .Values.operator.settings }}\n            - name: {{ $name }}\n              value: {{ $value | quote }}\n{{- else }} []\n{{- end }}',
  )
}

/** Every namespace that is the platform's is that of the release. */
function renameNamespace(at: Loose, namespace: string): void {
  if (typeof at !== 'object' || at === null) return
  for (const [name, value] of Object.entries(at)) {
    if (name === 'namespace' && value === NAMESPACE) at[name] = namespace
    else if (name === 'resourceNames' && Array.isArray(value)) at[name] = value.map((one) => (one === NAMESPACE ? namespace : one))
    else renameNamespace(value, namespace)
  }
}

function filled(text: string, expressions: readonly string[]): string {
  const at = (index: string) => expressions[Number(index)] ?? ''
  return text
    .replaceAll(/^ *- "?@@(\d+)@@"?$/gm, (line, index) =>
      at(index).startsWith('{{-') ? `    ${at(index)}` : line.replace(/"?@@\d+@@"?/, `'${at(index)}'`),
    )
    .replaceAll(/"?@@(\d+)@@"?/g, (_, index) => (/^\{\{-|replicas/.test(at(index)) ? at(index) : `'${at(index)}'`))
}
