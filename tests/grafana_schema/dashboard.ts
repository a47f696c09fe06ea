// What a dashboard file may hold, from the types that Grafana publishes in @grafana/schema.
import type * as schema from '@grafana/schema';
import type * as BarGauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as Heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as Logs from '@grafana/schema/dist/esm/raw/composable/logs/panelcfg/x/LogsPanelCfg_types.gen';
import type * as Stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as StateTimeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as Table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as TimeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// The same type as it is in JSON: an enum is its values there, without their names.
export type Json<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer N extends number}`
      ? N
      : never
    : T extends Array<infer Item>
      ? Array<Json<Item>>
      : T extends object
        ? { [Key in keyof T]: Json<T[Key]> }
        : T;

// The package has no types for the queries of single datasources. Source: the data models of Grafana's own Prometheus and
// Jaeger datasources (PromQuery, JaegerQuery), and of the plugin victoriametrics-logs-datasource 0.30.1 (Query), of which
// only what a dashboard needs is let through.
interface PrometheusQuery extends schema.DataQuery {
  expr: string;
  legendFormat?: string;
  instant?: boolean;
  range?: boolean;
  exemplar?: boolean;
  format?: 'time_series' | 'table' | 'heatmap';
  interval?: string;
}
interface JaegerQuery extends schema.DataQuery {
  queryType: 'search' | 'dependencyGraph';
  service?: string;
  operation?: string;
  tags?: string;
  minDuration?: string;
  maxDuration?: string;
  limit?: number;
}
interface VictoriaLogsQuery extends schema.DataQuery {
  expr: string;
  queryType: 'instant' | 'stats' | 'statsRange' | 'hits';
  legendFormat?: string;
  maxLines?: number;
  step?: string;
}
interface Source<Type extends string> {
  type: Type;
  uid: string;
}
type Asks =
  | { datasource: Source<'prometheus'>; targets: PrometheusQuery[] }
  | { datasource: Source<'victoriametrics-logs-datasource'>; targets: VictoriaLogsQuery[] }
  | { datasource: Source<'jaeger'>; targets: JaegerQuery[] };

type Common = Omit<Json<schema.Panel>, 'type' | 'title' | 'description' | 'datasource' | 'targets' | 'options' | 'fieldConfig'> & {
  title: string;
  description: string;
};
type FieldConfig<Custom> = Omit<Json<schema.FieldConfigSource>, 'defaults'> & {
  defaults: Omit<Json<schema.FieldConfig>, 'custom' | 'links'> & {
    custom?: Json<Custom>;
    links?: Array<{ title: string; url: string; targetBlank?: boolean }>;
  };
};
type PanelOf<Type extends string, Options, Custom> = Common &
  Asks & { type: Type; options: Json<Options>; fieldConfig: FieldConfig<Custom> };

export type Panel =
  | PanelOf<'bargauge', BarGauge.Options, {}>
  | PanelOf<'heatmap', Heatmap.Options, Heatmap.FieldConfig>
  | PanelOf<'logs', Logs.Options, {}>
  | PanelOf<'stat', Stat.Options, {}>
  | PanelOf<'state-timeline', StateTimeline.Options, StateTimeline.FieldConfig>
  | PanelOf<'table', Table.Options, Table.FieldConfig>
  | PanelOf<'timeseries', TimeSeries.Options, TimeSeries.FieldConfig>;

type Row = Omit<Json<schema.RowPanel>, 'panels'> & { panels: Panel[] };

// Prometheus' datasource reads these beside what every annotation has.
type Annotation = Omit<Json<schema.AnnotationQuery>, 'target' | 'datasource'> & {
  datasource: Source<'prometheus'>;
  target: PrometheusQuery;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
  useValueForTime?: boolean;
};

export type Dashboard = Omit<Json<schema.Dashboard>, 'uid' | 'title' | 'panels' | 'annotations'> & {
  uid: string;
  title: string;
  panels: Array<Panel | Row>;
  annotations: { list: Annotation[] };
};
