/* crash_stack.c - the C stacks of the last fault and of a crash; see crash_stack.h.
 *
 * What runs in the signal handler uses static memory and async-signal-safe
 * calls only.  So it asks /proc which shared object an address lies in, not
 * the dynamic linker, whose lock the crash may have happened under. */
#define _GNU_SOURCE
#include "crash_stack.h"

#include "cstack.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

/* Two, so that a stack is whole while the next one is being taken. */
static fi_stack kept[2];
static _Atomic int newest = -1;
static atomic_flag keeping = ATOMIC_FLAG_INIT;

void
fi_crash_stack_keep(void)
{
    if (atomic_flag_test_and_set_explicit(&keeping, memory_order_acquire)) {
        return; /* another thread's fault, at this very moment */
    }
    int slot = atomic_load_explicit(&newest, memory_order_relaxed) == 0;
    fi_cstack_take(&kept[slot]);
    atomic_store_explicit(&newest, slot, memory_order_release);
    atomic_flag_clear_explicit(&keeping, memory_order_release);
}

static const fi_stack *
last_kept(void)
{
    static const fi_stack none;
    int slot = atomic_load_explicit(&newest, memory_order_acquire);
    return slot < 0 ? &none : &kept[slot];
}

PyObject *
fi_crash_stack_kept(void)
{
    const fi_stack *stack = last_kept();
    PyObject *rows = PyList_New(0);
    for (int i = 0; rows != NULL && i < stack->n; i++) {
        Dl_info info = {0};
        dladdr(stack->at[i], &info);
        const char *object = info.dli_fname != NULL ? info.dli_fname : "";
        PyObject *row = Py_BuildValue("(NK)", PyUnicode_DecodeFSDefault(object),
                                      (unsigned long long)((char *)stack->at[i] -
                                                           (char *)info.dli_fbase));
        if (row == NULL || PyList_Append(rows, row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(row);
    }
    return rows;
}

void
fi_crash_stack_forget(void)
{
    atomic_store_explicit(&newest, -1, memory_order_release);
}

static const int fatal[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};
enum { FATAL = sizeof(fatal) / sizeof(fatal[0]) };
static struct sigaction before[FATAL];

static pid_t watched;
static int written_to = -1;

/* How far the account of a crash has come; more than 1 if it has crashed itself. */
static volatile sig_atomic_t stage;
static int first;              /* the signal that it is about */
static ucontext_t *interrupted; /* and what that interrupted */

/* A text on its way to the descriptor. */
static char text[1024];
static size_t text_size;

static void
flush(void)
{
    for (size_t done = 0; done < text_size;) {
        ssize_t wrote = write(written_to, text + done, text_size - done);
        if (wrote <= 0) {
            break; /* nobody is left to be told */
        }
        done += (size_t)wrote;
    }
    text_size = 0;
}

static void
put(char c)
{
    text[text_size++] = c;
    if (text_size == sizeof(text)) {
        flush();
    }
}

static void
put_text(const char *s)
{
    while (*s != '\0') {
        put(*s++);
    }
}

static void
put_hex(uintptr_t value)
{
    int shift = (int)sizeof(value) * 8 - 4;
    while (shift > 0 && (value >> shift) == 0) {
        shift -= 4;
    }
    for (; shift >= 0; shift -= 4) {
        put("0123456789abcdef"[(value >> shift) & 0xf]);
    }
}

/* An address of the two stacks, and where it was found to lie. */
typedef struct {
    uintptr_t address, offset;
    int object; /* -1 while it is not known */
} fi_spot;

static fi_spot spots[2 * FI_STACK_MAX];
static int n_spots;

static void
add_spots(const fi_stack *stack)
{
    for (int i = 0; i < stack->n; i++) {
        spots[n_spots++] = (fi_spot){(uintptr_t)stack->at[i], (uintptr_t)stack->at[i], -1};
    }
}

/* One line of /proc/self/maps, read a character at a time: "start-end permissions
 * offset device inode   name". */
typedef struct {
    uintptr_t start, end, offset;
    int column, ended; /* ended: the "-" was seen */
    int named;         /* the name is being written */
} fi_map_line;

static uintptr_t base;  /* where the last object begins in memory */
static int n_objects;

/* Claim the spots in this mapping for the object whose name begins here. */
static int
claim(const fi_map_line *line)
{
    int claimed = 0;
    if (line->offset == 0) {
        base = line->start;
    }
    for (int i = 0; i < n_spots; i++) {
        if (spots[i].address >= line->start && spots[i].address < line->end) {
            spots[i].offset = spots[i].address - base;
            spots[i].object = n_objects;
            claimed = 1;
        }
    }
    return claimed;
}

static uintptr_t
with_digit(uintptr_t number, char c)
{
    return number * 16 + (uintptr_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void
read_character(fi_map_line *line, char c)
{
    enum { RANGE, PERMISSIONS, OFFSET, DEVICE, INODE, BLANKS, NAME };
    if (line->column == NAME) {
        if (line->named) {
            put(c);
        }
    } else if (line->column == BLANKS && c != ' ') {
        line->column = NAME;
        line->named = claim(line);
        if (line->named) {
            put_text("faultinject: object ");
            put_hex((uintptr_t)n_objects++);
            put(' ');
            put(c);
        }
    } else if (c == ' ') {
        line->column += line->column < BLANKS;
    } else if (line->column == OFFSET) {
        line->offset = with_digit(line->offset, c);
    } else if (line->column == RANGE && c == '-') {
        line->ended = 1;
    } else if (line->column == RANGE) {
        uintptr_t *number = line->ended ? &line->end : &line->start;
        *number = with_digit(*number, c);
    }
}

/* Write the name of each object that a spot lies in. */
static void
find_objects(void)
{
    static char chunk[4096];
    fi_map_line line = {0};
    int map = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (map < 0) {
        return; /* then the addresses are all there is */
    }
    for (ssize_t size; (size = read(map, chunk, sizeof(chunk))) > 0;) {
        for (ssize_t i = 0; i < size; i++) {
            if (chunk[i] != '\n') {
                read_character(&line, chunk[i]);
                continue;
            }
            if (line.named) {
                put('\n');
            }
            line = (fi_map_line){0};
        }
    }
    close(map);
}

static void
put_stack(const char *what, const fi_spot *spot, int n)
{
    put_text("faultinject: ");
    put_text(what);
    for (; n > 0; n--, spot++) {
        put(' ');
        if (spot->object < 0) {
            put('?');
        } else {
            put_hex((uintptr_t)spot->object);
        }
        put('+');
        put_hex(spot->offset);
    }
    put('\n');
}

static void
tell(const fi_stack *crash)
{
    const fi_stack *fault = last_kept();
    n_spots = n_objects = 0;
    text_size = 0;
    add_spots(fault);
    add_spots(crash);
    find_objects();
    put_stack("fault", spots, fault->n);
    put_stack("crash", spots + fault->n, crash->n);
    flush();
}

/* Take what the registers tell, where the unwinder has crashed: a call into
 * nowhere, of which the innermost frame is the caller's. */
static void
take_registers(fi_stack *stack, int with_caller)
{
    stack->n = 0;
#if defined(__linux__) && defined(__x86_64__)
    const greg_t *registers = interrupted->uc_mcontext.gregs;
    stack->at[stack->n++] = (void *)(uintptr_t)registers[REG_RIP];
    if (with_caller) {
        stack->at[stack->n++] = (char *)*(void **)(uintptr_t)registers[REG_RSP] - 1;
    }
#elif defined(__linux__) && defined(__aarch64__)
    stack->at[stack->n++] = (void *)(uintptr_t)interrupted->uc_mcontext.pc;
    if (with_caller) {
        stack->at[stack->n++] = (char *)(uintptr_t)interrupted->uc_mcontext.regs[30] - 1;
    }
#else
    (void)with_caller;
#endif
}

/* Undo the watch, so that the signal does what it would have done. */
static void
put_back(int number)
{
    for (int i = 0; i < FATAL; i++) {
        if (fatal[i] == number || stage > 1) {
            sigaction(fatal[i], &before[i], NULL);
        }
    }
}

static void
on_fatal(int number, siginfo_t *Py_UNUSED(info), void *context)
{
    static fi_stack crash;
    int error = errno;
    if (getpid() == watched) {
        if (++stage == 1) {
            first = number;
            interrupted = context;
            fi_cstack_take(&crash);
            tell(&crash);
        } else if (stage <= 3) {
            if (!crash.interrupted || crash.n == 0 || stage == 3) {
                take_registers(&crash, stage == 2);
            }
            tell(&crash);
        }
        number = first;
    }
    put_back(number);
    raise(number);
    /* Somebody has handled it, and the process lives on. */
    stage = 0;
    errno = error;
}

int
fi_crash_stack_watch(int descriptor)
{
    /* The unwinder needs more than the little stack that faulthandler has. */
    static char memory[64 << 10] __attribute__((aligned(16)));
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof(memory)};
    struct sigaction action = {.sa_sigaction = on_fatal,
                               .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    watched = getpid();
    written_to = descriptor;
    if (sigaltstack(&stack, NULL) < 0) {
        return 0;
    }
    for (int i = 0; i < FATAL; i++) {
        if (sigaction(fatal[i], &action, &before[i]) < 0) {
            return 0;
        }
    }
    return 1;
}
