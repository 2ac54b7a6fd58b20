/** The filter language as the dashboard writes it. The server reads and checks it. */

/** What events of one behaviour share, such as those of several addresses of one attacker. */
export const CORRELATION = 'metadata.guard.behavior.correlation_key';

/** The fields of an event, in the order in which completion offers them. */
export const FIELDS = [
  'action_taken',
  'event_type',
  'ip_address',
  'endpoint',
  'reason',
  'country',
  'method',
  'status_code',
  'user_agent',
  'rule_type',
  'pattern_matched',
  'decorator_type',
  'handler_name',
  'response_time',
  'install_id',
  'metadata.guard.rule.id',
  'metadata.guard.threat_score',
  CORRELATION,
  'metadata.guard.service.name',
  'metadata.guard.deployment.environment',
] as const;

/** A value as a term needs it: quoted unless it is plain. */
export function quote(value: string): string {
  if (/^[\p{L}\p{N}_./:{}@%+=~#-]+$/u.test(value) && !/^[-<>=]|\.\./.test(value)) return value;
  return `"${value.replace(/[\\"]/g, '\\$&')}"`;
}

/** The term for a field and a value; null stands for a missing value. */
export function term(field: string, value: string | null, negate = false): string {
  if (value === null) return negate ? `${field}:*` : `-${field}:*`;
  return `${negate ? '-' : ''}${field}:${quote(value)}`;
}

/** Adds a term. Removes the opposite term, and adds none twice. */
export function withTerm(
  filter: string,
  field: string,
  value: string | null,
  negate = false,
): string {
  const added = term(field, value, negate);
  const opposite = term(field, value, !negate);
  const terms = split(filter);
  if (terms === null) return `(${filter}) ${added}`;
  return [...terms.filter((it) => it !== added && it !== opposite), added].join(' ');
}

/** The filter without one of its terms. */
export function withoutTerm(filter: string, index: number): string {
  return (split(filter) ?? []).filter((_, at) => at !== index).join(' ');
}

/**
 * The terms of a filter that only ANDs them, or null if it has an OR.
 * A group in parentheses, and a NOT with what follows, count as one term.
 */
export function split(filter: string): string[] | null {
  const words = tokens(filter);
  const terms: string[] = [];
  let prefix = '';
  for (const word of words) {
    if (word === 'OR') return null;
    if (word === 'AND') continue;
    if (word === 'NOT') {
      prefix += 'NOT ';
      continue;
    }
    terms.push(prefix + word);
    prefix = '';
  }
  if (prefix) terms.push(prefix.trim());
  return terms;
}

/** Cuts at spaces outside quotes and parentheses. */
function tokens(filter: string): string[] {
  const found: string[] = [];
  let word = '';
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < filter.length; at++) {
    const letter = filter.charAt(at);
    if (quoted && letter === '\\') {
      word += letter + filter.charAt(++at);
      continue;
    }
    if (letter === '"') quoted = !quoted;
    if (!quoted && letter === '(') depth++;
    if (!quoted && letter === ')') depth--;
    if (!quoted && depth <= 0 && /\s/.test(letter)) {
      if (word) found.push(word);
      word = '';
    } else word += letter;
  }
  if (word) found.push(word);
  return found;
}

/** What is being typed: a field, or a value of a field. */
export interface Typing {
  field: string | null;
  text: string;
  /** Where the text that a suggestion replaces begins. */
  start: number;
}

/** What the caret is in. */
export function typing(filter: string, caret: number): Typing {
  const before = filter.slice(0, caret);
  const match = /(^|[\s(])(-?)([\w.]*)(?::("?)((?:[^"\\\s]|\\.|(?<=:"[^"]*)\s)*))?$/u.exec(before);
  if (!match) return { field: null, text: '', start: caret };
  const [, , , name = '', open, value] = match;
  if (value === undefined) return { field: null, text: name, start: caret - name.length };
  return { field: name, text: value, start: caret - value.length - (open ?? '').length };
}

/** The fields that continue what was typed: those that begin with it come first. */
export function completeField(text: string): string[] {
  const wanted = text.toLowerCase();
  const begins = FIELDS.filter((field) => field.startsWith(wanted));
  const contains = FIELDS.filter((field) => !field.startsWith(wanted) && field.includes(wanted));
  return [...begins, ...contains].slice(0, 8);
}

/** The filter after a suggestion was taken, and where the caret is then. */
export function complete(
  filter: string,
  caret: number,
  suggestion: string,
): { filter: string; caret: number } {
  const { field, start } = typing(filter, caret);
  const text = field === null ? suggestion + ':' : quote(suggestion) + ' ';
  const rest = filter.slice(caret).replace(/^[^\s)]*/, '');
  const joined = filter.slice(0, start) + text + rest.trimStart();
  return { filter: joined, caret: start + text.length };
}
