/** Who is signed in, and what that person may do. */
import { ApiError, get, post, remove, whenSignedOut } from './api';
import { basePath, outerHref, router } from './router.svelte';
import type { Role, Session } from './types';

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

class SessionState {
  person = $state.raw<Session | null>(null);
  /** Until the server has said who is asking. */
  unknown = $state(true);
  error = $state.raw<ApiError | null>(null);

  constructor() {
    whenSignedOut(() => this.signedOut());
  }

  async load(): Promise<void> {
    try {
      this.person = await get<Session>('session');
      this.error = null;
    } catch (error) {
      this.person = null;
      const known = error instanceof ApiError ? error : new ApiError(0, String(error));
      this.error = known.status === 401 ? null : known;
    }
    this.unknown = false;
  }

  async signIn(name: string, password: string): Promise<void> {
    await post('session', { name, password });
    await this.load();
  }

  async signOut(): Promise<void> {
    await remove('session');
    this.person = null;
    router.go(outerHref('sign-in'));
  }

  /** Goes to sign-in, which leads back to the same page. */
  signedOut(): void {
    this.person = null;
    const { page } = router.route;
    if (page === 'sign-in' || page === 'setup') return;
    const here = location.pathname.slice(basePath().length) + location.search;
    router.go(outerHref('sign-in', { back: here }), 'replace');
  }

  /** Whether a control for this role is shown. The server checks each request all the same. */
  may(role: Role): boolean {
    return this.person !== null && RANK[this.person.role] >= RANK[role];
  }
}

export const session = new SessionState();
