/* A stand-in for the NVIDIA driver's library, for machines without a GPU: as much of it as edgec calls, in host memory.

   Pointers to "device" memory carry a bit that no host pointer has, so that whoever mixes the two up is found out. Work is done
   when it is asked for, but for what is captured: that the stand-in for TensorRT hands over as a function. A test tool, never
   shipped; its device says what it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, NOT_INITIALISED = 3, NO_DEVICE = 100, INVALID_CONTEXT = 201, NOT_PERMITTED = 800 };
#define DEVICE ((uint64_t)1 << 60)

static int ready, current, capturing;
static void (*captured)(void);

static int wrong(void) { return !ready ? NOT_INITIALISED : !current ? INVALID_CONTEXT : SUCCESS; }

int cuInit(unsigned flags) {
    if (getenv("STANDIN_NO_GPU")) return NO_DEVICE;
    ready = flags == 0;
    return ready ? SUCCESS : INVALID_VALUE;
}
int cuDriverGetVersion(int *version) { *version = 12090; return SUCCESS; }
int cuDeviceGet(int *device, int ordinal) { *device = 7; return !ready ? NOT_INITIALISED : ordinal ? INVALID_VALUE : SUCCESS; }
int cuDeviceGetName(char *name, int length, int device) {
    strncpy(name, "edgec stand-in GPU", length);
    return device == 7 ? SUCCESS : INVALID_VALUE;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    const char *told = getenv("STANDIN_COMPUTE"); /* as in 8.9 */
    if (device != 7 || (attribute != 75 && attribute != 76)) return INVALID_VALUE;
    *value = (told ? told : "8.9")[attribute == 75 ? 0 : 2] - '0';
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &current; return device == 7 ? SUCCESS : INVALID_VALUE; }
int cuCtxSetCurrent(void *context) { current = context == &current; return current ? SUCCESS : INVALID_CONTEXT; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = &capturing; return flags == 1 ? wrong() : INVALID_VALUE; }
int cuStreamSynchronize(void *stream) { return capturing ? NOT_PERMITTED : stream == &capturing ? wrong() : INVALID_VALUE; }

int cuMemAlloc_v2(uint64_t *address, size_t size) { *address = (uint64_t)(uintptr_t)malloc(size) | DEVICE; return wrong(); }
int cuMemHostRegister_v2(void *address, size_t size, unsigned flags) { return !address || !size || flags ? INVALID_VALUE : wrong(); }
static int copy(uint64_t to, uint64_t from, size_t size, void *stream) {
    if (capturing) return NOT_PERMITTED;
    if (stream != &capturing) return INVALID_VALUE;
    memcpy((void *)(uintptr_t)(to & ~DEVICE), (void *)(uintptr_t)(from & ~DEVICE), size);
    return wrong();
}
int cuMemcpyHtoDAsync_v2(uint64_t to, uint64_t from, size_t size, void *stream) {
    return to & DEVICE && !(from & DEVICE) ? copy(to, from, size, stream) : INVALID_VALUE;
}
int cuMemcpyDtoHAsync_v2(uint64_t to, uint64_t from, size_t size, void *stream) {
    return from & DEVICE && !(to & DEVICE) ? copy(to, from, size, stream) : INVALID_VALUE;
}

typedef struct { struct timespec at; } Event;
int cuEventCreate(void **event, unsigned flags) { *event = calloc(1, sizeof(Event)); return flags > 1 ? INVALID_VALUE : wrong(); }
int cuEventRecord(Event *event, void *stream) {
    if (stream != &capturing) return INVALID_VALUE;
    clock_gettime(CLOCK_MONOTONIC, &event->at);
    return wrong();
}
int cuEventSynchronize(Event *event) { return event->at.tv_sec ? SUCCESS : INVALID_VALUE; }
int cuEventElapsedTime(float *ms, Event *start, Event *end) {
    if (!start->at.tv_sec || !end->at.tv_sec) return INVALID_VALUE;
    *ms = (end->at.tv_sec - start->at.tv_sec) * 1e3 + (end->at.tv_nsec - start->at.tv_nsec) / 1e6;
    return SUCCESS;
}

int cuStreamBeginCapture_v2(void *stream, int mode) {
    if (capturing || stream != &capturing || mode != 1) return INVALID_VALUE;
    capturing = 1;
    captured = NULL;
    return wrong();
}
int cuStreamEndCapture(void *stream, void **graph) {
    int was = capturing;
    capturing = 0;
    *graph = (void *)captured;
    return !was || stream != &capturing ? INVALID_VALUE : captured ? SUCCESS : NOT_PERMITTED;
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, uint64_t flags) {
    *executable = graph;
    return graph && !flags ? SUCCESS : INVALID_VALUE;
}
int cuGraphLaunch(void (*executable)(void), void *stream) {
    if (stream != &capturing) return INVALID_VALUE;
    executable();
    return SUCCESS;
}
int cuGetErrorString(int code, const char **text) {
    *text = code == NO_DEVICE ? "no CUDA-capable device is detected" : code == NOT_PERMITTED ? "operation not permitted" : "refused";
    return SUCCESS;
}

/* For the stand-in for TensorRT: whether `work` was taken for the graph that is being captured, or is to be done now. */
int standin_captures(void *stream, void (*work)(void)) {
    if (stream != &capturing || !capturing) return 0;
    captured = work;
    return 1;
}

/* How cuda-bindings finds functions: the newest version of each that the library has. */
int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    char newest[256];
    Dl_info where;
    void *self = dladdr((void *)cuGetProcAddress_v2, &where) ? dlopen(where.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    snprintf(newest, sizeof newest, "%s_v2", name);
    *function = self ? dlsym(self, newest) : NULL;
    if (!*function && self) *function = dlsym(self, name);
    if (status) *status = *function ? 0 : 1;
    return *function ? SUCCESS : 500;
}
