/** A graph: what it shows, and how it is to be read. */
type Graph = {
  title: string
  description: string
  /** Grafana's name of the unit, such as `s` or `reqps`. */
  unit: string
  /** PromQL, and how each of its series is called. */
  queries: readonly (readonly [expression: string, legend: string])[]
  /** A number for the moment, or a course over time. */
  isNumber: boolean
}

/** A number for the moment. */
export function number(title: string, description: string, unit: string, expression: string, legend = ''): Graph {
  return { title, description, unit, queries: [[expression, legend]], isNumber: true }
}

/** Its course over time. */
export function course(title: string, description: string, unit: string, ...queries: Graph['queries']): Graph {
  return { title, description, unit, queries, isNumber: false }
}

/** A choice above the graphs: the values of a label of a metric. */
export type Choice = { name: string; title: string; metric: string; label: string; isSingle?: boolean }

/** A dashboard, as far as it is about anything. */
export type Dashboard = { name: string; title: string; description: string; choices: readonly Choice[]; graphs: readonly Graph[] }

// Grafana's own way to name the choice of that name.
const DATASOURCE = { type: 'prometheus', uid: '$datasource' }
const COLUMNS = 24
const NUMBER = { width: 4, height: 4 }
const COURSE = { width: 12, height: 8 }

/** The dashboard as Grafana imports it: numbers first, then courses two by two. */
export function toGrafana({ name, title, description, choices, graphs }: Dashboard): object {
  return {
    uid: `tenantry-${name}`,
    title,
    description,
    tags: ['tenantry'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    templating: { list: [DATASOURCE_CHOICE, ...choices.map(toVariable)] },
    panels: placed(graphs),
  }
}

const DATASOURCE_CHOICE = { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus', current: {} }

function toVariable({ name, title, metric, label, isSingle = false }: Choice): object {
  const among = name === 'namespace' ? metric : `${metric}{namespace=~"$namespace"}`
  const query = `label_values(${among}, ${label})`
  const all = isSingle ? {} : { includeAll: true, multi: true, allValue: '.*', current: { text: 'All', value: '$__all' } }
  return {
    name,
    label: title,
    type: 'query',
    datasource: DATASOURCE,
    query: { query, refId: name },
    definition: query,
    refresh: 2,
    sort: 1,
    ...all,
  }
}

function placed(graphs: readonly Graph[]): object[] {
  let x = 0
  let y = 0
  let height = 0
  return graphs
    .toSorted((a, b) => Number(b.isNumber) - Number(a.isNumber))
    .map((graph, index) => {
      const size = graph.isNumber ? NUMBER : COURSE
      if (x + size.width > COLUMNS || (height > 0 && height !== size.height)) {
        x = 0
        y += height
      }
      height = size.height
      const panel = toPanel(graph, index + 1, { x, y, w: size.width, h: size.height })
      x += size.width
      return panel
    })
}

function toPanel({ title, description, unit, queries, isNumber }: Graph, id: number, gridPos: object): object {
  return {
    id,
    type: isNumber ? 'stat' : 'timeseries',
    title,
    description,
    datasource: DATASOURCE,
    gridPos,
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    ...(isNumber ? { options: { reduceOptions: { calcs: ['lastNotNull'] } } } : { options: { tooltip: { mode: 'multi', sort: 'desc' } } }),
    targets: queries.map(([expr, legendFormat], at) => ({
      refId: String.fromCharCode(65 + at),
      datasource: DATASOURCE,
      expr,
      legendFormat,
    })),
  }
}
