/* Requests to valgrind. Outside valgrind they do nothing and the count is 0. */
#include <stddef.h>
#include <valgrind/memcheck.h>

void mark_undefined(const void *at, size_t len) { (void)VALGRIND_MAKE_MEM_UNDEFINED(at, len); }
void mark_defined(const void *at, size_t len) { (void)VALGRIND_MAKE_MEM_DEFINED(at, len); }
unsigned long count_errors(void) { return VALGRIND_COUNT_ERRORS; }
int under_valgrind(void) { return RUNNING_ON_VALGRIND; }
