/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses that are not canonical: #SS, and so SIGBUS, where the stack is meant; #GP and SIGSEGV elsewhere. */
#include "check.h"
#include <sys/wait.h>
#include <ucontext.h>

#define WILD "movabs $0x8000000000000000, "

static void note(int signo, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	_exit((signo == SIGBUS) << 6 | (info->si_code == SI_KERNEL) << 5 | (info->si_addr == NULL) << 4 |
	      u->uc_mcontext.gregs[REG_TRAPNO]);
}

static int of(void (*code)(void))
{
	static char stack[65536];
	int status, pid = fork();

	if (!pid) {
		struct sigaction act = { .sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_ONSTACK };

		sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof stack }, NULL);
		sigaction(SIGSEGV, &act, NULL);
		sigaction(SIGBUS, &act, NULL);
		code();
		_exit(1);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#define CODE(name, text) static void name(void) { __asm__ volatile(text); }
CODE(pushes, WILD "%rsp; push %rax")
CODE(pops, WILD "%rsp; pop %rax")
CODE(calls, WILD "%rsp; call 1f; 1:")
CODE(returns, WILD "%rsp; ret")
CODE(leaves, WILD "%rbp; leave")
CODE(enters, WILD "%rsp; enter $16, $0")
CODE(flags, WILD "%rsp; pushfq")
CODE(by_rsp, WILD "%rsp; mov 8(%rsp), %rax")
CODE(by_rbp, WILD "%rbp; mov %rax, -8(%rbp)")
CODE(by_index, WILD "%rbp; mov (%rsp,%rbp), %rax")
CODE(by_fs, WILD "%rbp; mov %fs:(%rbp), %rax")
CODE(by_ds, WILD "%rbp; mov %ds:(%rbp), %rax")
CODE(by_rax, WILD "%rax; mov (%rax), %rcx")
CODE(pushes_operand, WILD "%rax; push (%rax)")
CODE(the_lowest, "movabs $0xffff800000000000, %rsp; push %rax")
CODE(the_highest, "movabs $0x800000000000, %rsp; pop %rax")
CODE(below_it, "movabs $0x800000000000, %rsp; push %rax")

int main(void)
{
	EQUAL("push", of(pushes), 0x7c);
	EQUAL("pop", of(pops), 0x7c);
	EQUAL("call", of(calls), 0x7c);
	EQUAL("ret", of(returns), 0x7c);
	EQUAL("leave", of(leaves), 0x7c);
	EQUAL("enter", of(enters), 0x7c);
	EQUAL("pushfq", of(flags), 0x7c);
	EQUAL("an operand at RSP", of(by_rsp), 0x7c);
	EQUAL("an operand at RBP", of(by_rbp), 0x7c);
	EQUAL("RBP as an index", of(by_index), 0x7c);
	EQUAL("RBP behind FS", of(by_fs), 0x3d);
	EQUAL("RBP behind DS", of(by_ds), 0x7c);
	EQUAL("an operand at RAX", of(by_rax), 0x3d);
	EQUAL("push of such an operand", of(pushes_operand), 0x3d);
	EQUAL("push below the kernel's half", of(the_lowest), 0x7c);
	EQUAL("pop at the end of the user's", of(the_highest), 0x7c);
	EQUAL("push below that", of(below_it), 0x0e);
	return done();
}
