#include "common.h"
#include <spawn.h>
extern char**environ;
/* posix_spawn with actions and attributes, and wordexp's relatives: what libc builds on vfork */ int main() {
	posix_spawn_file_actions_t a;
	posix_spawnattr_t t;
	pid_t c;
	int st;
	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_addopen(&a, 1,"out", O_WRONLY|O_CREAT|O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&a, 1, 2);
	posix_spawn_file_actions_addclose(&a, 0);
	posix_spawnattr_init(&t);
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGTERM);
	posix_spawnattr_setsigdefault(&t, &s);
	posix_spawnattr_setpgroup(&t, 0);
	posix_spawnattr_setflags(&t, POSIX_SPAWN_SETSIGDEF|POSIX_SPAWN_SETPGROUP);
	char*v[]={"sh","-c","echo out; echo err >&2; read x || echo none; kill -TERM $$", 0};
	signal(SIGTERM, SIG_IGN);
	E(posix_spawn(&c,"/bin/sh", &a, &t, v, environ));
	waitpid(c, &st, 0);
	status_of(st);
	show("out");
	char*w[]={"nosuch", 0};
	E(posix_spawnp(&c,"nosuchprogram", 0, 0, w, environ));
	E(posix_spawn(&c,"/etc/passwd", 0, 0, w, environ));
	FILE*f=popen("cat; exit 5","w");
	fprintf(f,"piped\n");
	P("%d\n", pclose(f)>>8);
	P("%d\n", system("exit 3")>>8);
	P("%d\n", system(0)!=0);
	return 0;
}
