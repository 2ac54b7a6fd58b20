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

/** Other actions than those with a tone. Their colours look like no tone. */
const OTHERS = ['--series-1', '--series-7', '--series-3', '--series-2'] as const;

/** How a chart shows an action: actions of one tone are one part of it. */
export function seriesOf(action: string | null, index: number): { label: string; color: string } {
  switch (tone(action)) {
    case 'blocked':
      return { label: 'blocked', color: '--bad' };
    case 'banned':
      return { label: 'banned', color: '--text' };
    case 'logged':
      return { label: 'logged', color: '--series-logged' };
    case 'allowed':
      return { label: 'allowed', color: '--good' };
    default:
      return { label: actionWords(action), color: OTHERS[index % OTHERS.length] ?? '--series-1' };
  }
}
