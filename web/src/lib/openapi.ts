/** The description of the API, as the reference shows it. */

export interface Schema {
  $ref?: string;
  type?: string | string[];
  title?: string;
  description?: string;
  format?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  items?: Schema | boolean;
  prefixItems?: Schema[];
  allOf?: Schema[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  enum?: unknown[];
  example?: unknown;
  default?: unknown;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  maxItems?: number;
}

export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required?: boolean;
  description?: string;
  schema?: Schema;
  example?: unknown;
}

interface Content {
  schema?: Schema;
  example?: unknown;
  examples?: Record<string, { value: unknown }>;
}

interface Answer {
  description: string;
  content?: Record<string, Content>;
  headers?: Record<string, { description?: string }>;
}

interface RawOperation {
  operationId: string;
  tags: string[];
  summary: string;
  description?: string;
  parameters?: Parameter[];
  requestBody?: { content: Record<string, Content>; required?: boolean };
  responses: Record<string, Answer>;
  security: Record<string, string[]>[];
}

export interface Document {
  info: { title: string; version: string; description: string };
  tags: { name: string; description: string }[];
  paths: Record<string, Record<string, RawOperation>>;
  components: Record<string, Record<string, unknown>>;
}

export interface Operation extends RawOperation {
  method: string;
  path: string;
}

export interface Group {
  name: string;
  description: string;
  operations: Operation[];
}

/** A property of a schema, with those within it. */
export interface Row {
  name: string;
  type: string;
  required: boolean;
  description: string;
  limits: string;
  /** What is within it, if that is an object or a list of them. */
  inner: Schema | null;
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

export class Reference {
  readonly groups: Group[];

  constructor(readonly document: Document) {
    const all = Object.entries(document.paths).flatMap(([path, item]) =>
      METHODS.flatMap((method) => {
        const operation = item[method];
        return operation ? [{ ...operation, method, path }] : [];
      }),
    );
    this.groups = document.tags.map(({ name, description }) => ({
      name,
      description,
      operations: all.filter(({ tags }) => tags.includes(name)),
    }));
  }

  /** Follows references to the parts that the document defines once. */
  resolve<T extends object>(part: T): T {
    let found = part as T & { $ref?: string };
    while (found.$ref) {
      const path = found.$ref.replace('#/', '').split('/');
      found = path.reduce<unknown>(
        (at, name) => (at as Record<string, unknown>)[name],
        this.document,
      ) as T & { $ref?: string };
    }
    return found;
  }

  parameters(operation: Operation): Parameter[] {
    return (operation.parameters ?? []).map((it) => this.resolve(it));
  }

  /** What it answers, successes first. */
  answers(operation: Operation): { status: string; answer: Answer }[] {
    return Object.entries(operation.responses)
      .map(([status, answer]) => ({ status, answer: this.resolve(answer) }))
      .sort((a, b) => a.status.localeCompare(b.status));
  }

  /** The properties of an object, or of the items of a list. Parts of a schema count as one. */
  rows(schema: Schema): Row[] {
    const found = this.resolve(schema);
    const parts = (found.allOf ?? []).flatMap((part) => this.rows(part));
    const own = Object.entries(found.properties ?? {}).map(([name, property]) => ({
      name,
      type: this.type(property),
      required: found.required?.includes(name) ?? false,
      description: property.description ?? this.value(property).description ?? '',
      limits: limits(this.value(property)),
      inner: this.inner(property),
    }));
    return [...parts, ...own];
  }

  /** The forms that a value may have, such as one for each kind of operation. */
  forms(schema: Schema): Schema[] {
    const { anyOf } = this.value(schema);
    return anyOf ? anyOf.map((form) => this.resolve(form)) : [schema];
  }

  type(schema: Schema): string {
    const value = this.value(schema);
    const nullable = value !== this.resolve(schema) || value.type?.includes('null');
    const type = [value.type].flat().filter((it) => it && it !== 'null')[0];
    const items = typeof value.items === 'object' ? value.items : null;
    const text =
      type === 'array' ? (items ? `list of ${this.type(items)}` : 'list') : (type ?? named(value));
    const format = value.format === 'date-time' ? 'time' : text;
    return nullable ? `${format} or null` : format;
  }

  /** The example of the body of a request. */
  bodies(operation: Operation): { name: string; value: unknown }[] {
    const content = operation.requestBody?.content['application/json'];
    if (!content?.schema) return [];
    if (content.examples) {
      return Object.entries(content.examples).map(([name, { value }]) => ({ name, value }));
    }
    const schema = this.value(content.schema);
    const properties = Object.entries(schema.properties ?? {});
    const examples = properties.filter(([, { example }]) => example !== undefined);
    const value =
      schema.example ?? Object.fromEntries(examples.map(([name, { example }]) => [name, example]));
    return [{ name: '', value }];
  }

  /** The schema without the possibility of null. */
  value(schema: Schema): Schema {
    const found = this.resolve(schema);
    const other = found.oneOf?.find(({ type }) => type !== 'null');
    return found.oneOf?.length === 2 && other ? this.resolve(other) : found;
  }

  private inner(schema: Schema): Schema | null {
    const value = this.value(schema);
    if (value.properties || value.allOf || value.anyOf) return value;
    const { items, additionalProperties } = value;
    if (typeof items === 'object') return this.inner(items);
    return typeof additionalProperties === 'object' ? this.inner(additionalProperties) : null;
  }
}

function named(schema: Schema): string {
  return schema.properties || schema.allOf || schema.anyOf ? 'object' : 'any';
}

/** The limits of a value in words. */
export function limits(schema: Schema): string {
  const { minimum, maximum, minLength, maxLength, maxItems } = schema;
  const number = (n: number) => n.toLocaleString('en');
  const range = (least: number | undefined, most: number | undefined, unit: string) => {
    if (most === undefined) return least === undefined ? '' : `at least ${number(least)}${unit}`;
    return least === undefined
      ? `at most ${number(most)}${unit}`
      : `${number(least)} to ${number(most)}${unit}`;
  };
  return [
    schema.enum ? `one of ${schema.enum.join(', ')}` : '',
    range(minimum, maximum, ''),
    range(minLength, maxLength, ' characters'),
    range(undefined, maxItems, ' items'),
    schema.default === undefined || schema.default === null || typeof schema.default === 'object'
      ? ''
      : `default ${String(schema.default)}`,
  ]
    .filter(Boolean)
    .join('; ');
}

/** Who may call an operation, in words. */
export function callers({ security }: Operation): string {
  const named = security.flatMap((it) => Object.entries(it));
  if (!named.length) return 'everybody';
  if (named.some(([scheme]) => scheme === 'key')) return 'agent';
  const role = named[0]?.[1][0] ?? 'viewer';
  return named.some(([scheme]) => scheme === 'token') ? role : `${role}, signed in`;
}

/** The command that makes a call. `server` is the URL of the server without a slash at its end. */
export function curl(
  operation: Operation,
  parameters: Parameter[],
  body: unknown,
  server: string,
): string {
  const example = ({ name, example: value }: Parameter) =>
    value === undefined ? name.toUpperCase() : String(value);
  let path = operation.path;
  const query = new URLSearchParams();
  for (const parameter of parameters) {
    const { name, in: place, required } = parameter;
    if (place === 'path') path = path.replace(`{${name}}`, encodeURIComponent(example(parameter)));
    if (place === 'query' && required) query.set(name, example(parameter));
  }
  const text = query.toString();
  const parts = [`curl ${quoted(server + path + (text && '?' + text))}`];
  if (operation.method !== 'get')
    parts[0] = `curl -X ${operation.method.toUpperCase()} ${parts[0]?.slice(5) ?? ''}`;
  const caller = callers(operation);
  if (caller === 'agent') parts.push('-H "X-API-Key: $GUARD_KEY"');
  else if (caller.endsWith('signed in')) {
    parts.push(
      '-b "guard_session=$GUARD_SESSION"',
      `-H ${quoted('Origin: ' + new URL(server).origin)}`,
    );
  } else if (caller !== 'everybody') parts.push('-H "Authorization: Bearer $GUARD_TOKEN"');
  if (body !== undefined) {
    parts.push(`-H 'Content-Type: application/json'`, `-d ${quoted(JSON.stringify(body))}`);
  }
  return parts.join(' \\\n  ');
}

/** A word of a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
