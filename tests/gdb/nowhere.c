/* Calls a function pointer that is not set. */
int main(void)
{
	void (*volatile function)(void) = 0;

	function(); /* the call */
	return 0;
}
