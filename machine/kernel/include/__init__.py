"""What a driver's ``#include <linux/...>`` finds, a file a subject.  Drivers import `machine.kernel.linux` alone."""
