#include "common.h"

int main(void)
{
	FILE *f = fopen("s", "w+");
	fprintf(f, "%d %s %5.1f\n", 42, "text", 2.5);
	fputs("second\nthird", f);
	rewind(f);
	int i;
	char w[20];
	float x;
	P("%d", fscanf(f, "%d %19s %f", &i, w, &x));
	P(" %d %s %.1f\n", i, w, x);
	fgetc(f);
	P("%s", fgets(w, 20, f));
	P("%ld %d\n", ftell(f), feof(f));
	fseek(f, -2, SEEK_END);
	P("%c%c %d\n", fgetc(f), fgetc(f), fgetc(f));
	ungetc('u', f);
	P("%c\n", fgetc(f));
	fclose(f);
	f = fopen("none", "r");
	P("%d %s\n", f == 0, strerror(errno));
	f = fopen("s", "a");
	fputs("!", f);
	fclose(f);
	show("s");
	char *line = 0;
	size_t cap = 0;
	f = fopen("s", "r");
	while (getline(&line, &cap, f) > 0)
		P("[%zu]", strlen(line));
	P("\n");
	setvbuf(stdout, 0, _IONBF, 0);
	fputs("unbuffered\n", stdout);
	fprintf(stderr, "to stderr\n");
	return 0;
}
