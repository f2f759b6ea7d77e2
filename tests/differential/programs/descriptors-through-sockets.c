#include "common.h"
#include <sys/un.h>
/* descriptors through a socket: files, pipes, the socket itself */ static void send_fds(int s, int*f, int n) {
	char c[CMSG_SPACE(40)]={0};
	struct iovec io={"x", 1};
	struct msghdr m={.msg_iov=&io, .msg_iovlen=1, .msg_control=c, .msg_controllen=CMSG_SPACE(n*4)};
	struct cmsghdr*h=CMSG_FIRSTHDR(&m);
	h->cmsg_level=SOL_SOCKET;
	h->cmsg_type=SCM_RIGHTS;
	h->cmsg_len=CMSG_LEN(n*4);
	memcpy(CMSG_DATA(h), f, n*4);
	E(sendmsg(s, &m, 0));
}

static int recv_fds(int s, int*f, int room, int flags) {
	char c[CMSG_SPACE(40)], b[4];
	struct iovec io={b, 4};
	struct msghdr m={.msg_iov=&io, .msg_iovlen=1, .msg_control=c, .msg_controllen=CMSG_SPACE(room*4)};
	int r=recvmsg(s, &m, flags);
	struct cmsghdr*h=CMSG_FIRSTHDR(&m);
	int n=h&&h->cmsg_type==SCM_RIGHTS?(h->cmsg_len-CMSG_LEN(0))/4:0;
	if (n)memcpy(f, CMSG_DATA(h), n*4);
	P("%d bytes %d fds flags %x\n", r, n, m.msg_flags&(MSG_CTRUNC|MSG_TRUNC));
	return n;
}

int main() {
	int before=0;
	for (int i=0;i<64;i++)if(fcntl(i, F_GETFD)>=0)before++;
	int s[2], f[10], g[10], p[2];
	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	put("a","file text");
	f[0]=open("a", O_RDONLY);
	pipe(p);
	f[1]=p[1];
	send_fds(s[0], f, 2);
	if (!fork()) {
		int n=recv_fds(s[1], g, 5, MSG_CMSG_CLOEXEC);
		P("cloexec %d\n", fcntl(g[0], F_GETFD));
		char b[20]={0};
		read(g[0], b, 4);
		P("%s\n", b);
		write(g[1],"from child", 10);
		_exit(n);
	}
	int st;
	wait(&st);
	status_of(st);
	char b[20]={0};
	read(p[0], b, 20);
	P("%s\n", b);
	P("shared offset %ld\n", (long)lseek(f[0], 0, SEEK_CUR));
	f[2]=s[0];
	send_fds(s[0], f, 3);
	recv_fds(s[1], g, 1, 0);
	f[0]=-1;
	send_fds(s[0], f, 1);
	send_fds(s[0], &s[1], 1);
	close(s[0]);
	close(s[1]);
	int e=0;
	for (int i=0;i<64;i++)if(fcntl(i, F_GETFD)>=0)e++;
	P("open %d\n", e-before);
	return 0;
}
