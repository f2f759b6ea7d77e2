/* Takes 64 MiB, then as much as comes from standard input, and keeps it: somebody has to end it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
	size_t size = 64 << 20;
	char *piece = malloc(size);

	while (piece) {
		size_t filled = 0;
		ssize_t got = 1;

		if (size > 1 << 20) {
			memset(piece, 1, size);
			filled = size;
		}
		while (filled < size && (got = read(0, piece + filled, size - filled)) > 0)
			filled += got;
		if (got <= 0)
			return 0;
		size = 1 << 20;
		piece = malloc(size);
	}
	return 1;
}
