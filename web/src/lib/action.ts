/** How an action that a guard took is shown: a word and a tone. */

export type Tone = 'blocked' | 'banned' | 'logged' | 'allowed' | '';

const TONES: Record<string, Tone> = {
  blocked: 'blocked',
  request_blocked: 'blocked',
  emergency_lockdown: 'blocked',
  banned: 'banned',
  ip_banned: 'banned',
  logged: 'logged',
  logged_only: 'logged',
  anomaly_detected: 'logged',
  threat_detected: 'logged',
  unbanned: 'allowed',
  ip_unbanned: 'allowed',
  allowed: 'allowed',
};

export function tone(action: string | null | undefined): Tone {
  return TONES[action ?? ''] ?? '';
}

/** `request_blocked` as `blocked`: what the guard did, in words. */
export function actionWords(action: string | null | undefined): string {
  if (!action) return 'no action';
  if (action === 'request_blocked') return 'blocked';
  return action.replaceAll('_', ' ');
}

/** The colour token of a series, by its action or by its place. */
export function seriesColor(key: string | null, index: number): string {
  switch (tone(key)) {
    case 'blocked':
      return '--bad';
    case 'banned':
      return '--text';
    case 'logged':
      return '--series-logged';
    case 'allowed':
      return '--good';
    default:
      return `--series-${(index % 8) + 1}`;
  }
}
