// What a file of datasources may hold, as far as @grafana/schema has types for it: what all datasources have in common.
// The options of each type of datasource are checked in tests/unit/test_grafana.py.
import type { DataSourceJsonData, DataSourceRef } from '@grafana/schema';

interface Datasource extends Required<Pick<DataSourceRef, 'type' | 'uid'>> {
  name: string;
  access: 'proxy';
  url: string;
  isDefault?: boolean;
  jsonData: DataSourceJsonData & Record<string, unknown>;
}

export interface Datasources {
  apiVersion: 1;
  prune: boolean;
  datasources: Datasource[];
}
