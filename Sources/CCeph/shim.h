// What Aloft uses of Ceph's C libraries, librados and librbd. They are loaded when they are needed: a node without a pool in Ceph
// need not have them. These functions are those of Ceph 16 and later.
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

typedef void *ceph_cluster;
typedef void *ceph_pool;
typedef void *ceph_image;
typedef void *ceph_image_options;
// rbd_snap_info_t, rbd_image_watcher_t and rbd_image_spec_t
struct ceph_snapshot { uint64_t id, size; const char *name; };
struct ceph_watcher { char *address; int64_t id; uint64_t cookie; };
struct ceph_image_name { char *id, *name; };
typedef int (*ceph_extent_found)(uint64_t offset, size_t length, int exists, void *argument);

// F(result, name, arguments): those of librados, then those of librbd
#define CEPH_FUNCTIONS(F) \
  F(int, rados_create, (ceph_cluster *, const char *client)) \
  F(int, rados_conf_read_file, (ceph_cluster, const char *path)) \
  F(int, rados_conf_set, (ceph_cluster, const char *option, const char *value)) \
  F(int, rados_connect, (ceph_cluster)) \
  F(void, rados_shutdown, (ceph_cluster)) \
  F(int, rados_mon_command, (ceph_cluster, const char **command, size_t, const char *input, size_t, char **output, size_t *, char **status, size_t *)) \
  F(void, rados_buffer_free, (char *)) \
  F(int, rados_ioctx_create, (ceph_cluster, const char *pool, ceph_pool *)) \
  F(void, rados_ioctx_destroy, (ceph_pool)) \
  F(int, rbd_list2, (ceph_pool, struct ceph_image_name *, size_t *)) \
  F(void, rbd_image_spec_list_cleanup, (struct ceph_image_name *, size_t)) \
  F(void, rbd_image_options_create, (ceph_image_options *)) \
  F(void, rbd_image_options_destroy, (ceph_image_options)) \
  F(int, rbd_create4, (ceph_pool, const char *image, uint64_t size, ceph_image_options)) \
  F(int, rbd_clone3, (ceph_pool, const char *parent, const char *snapshot, ceph_pool, const char *image, ceph_image_options)) \
  F(int, rbd_rename, (ceph_pool, const char *from, const char *to)) \
  F(int, rbd_open, (ceph_pool, const char *image, ceph_image *, const char *snapshot)) \
  F(int, rbd_open_read_only, (ceph_pool, const char *image, ceph_image *, const char *snapshot)) \
  F(int, rbd_close, (ceph_image)) \
  F(int, rbd_get_size, (ceph_image, uint64_t *)) \
  F(int, rbd_resize, (ceph_image, uint64_t)) \
  F(int, rbd_metadata_get, (ceph_image, const char *key, char *value, size_t *)) \
  F(int, rbd_metadata_set, (ceph_image, const char *key, const char *value)) \
  F(int, rbd_snap_list, (ceph_image, struct ceph_snapshot *, int *)) \
  F(void, rbd_snap_list_end, (struct ceph_snapshot *)) \
  F(int, rbd_snap_get_namespace_type, (ceph_image, uint64_t snapshot, int *)) \
  F(int, rbd_snap_create, (ceph_image, const char *)) \
  F(int, rbd_snap_remove, (ceph_image, const char *)) \
  F(int, rbd_diff_iterate2, (ceph_image, const char *since, uint64_t offset, uint64_t length, uint8_t parents, uint8_t objects, ceph_extent_found, void *)) \
  F(int, rbd_watchers_list, (ceph_image, struct ceph_watcher *, size_t *)) \
  F(void, rbd_watchers_list_cleanup, (struct ceph_watcher *, size_t))

#define CEPH_FIELD(result, name, arguments) result (*_Nonnull name) arguments;
struct ceph_library { CEPH_FUNCTIONS(CEPH_FIELD) };
#undef CEPH_FIELD

// Loads them; NULL if that worked, else what is missing, in dlerror(3)'s words.
static inline const char *load_ceph_library(struct ceph_library *library) {
  void *rados = dlopen("librados.so.2", RTLD_NOW | RTLD_LOCAL);
  if (!rados) return dlerror();
  void *rbd = dlopen("librbd.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!rbd) return dlerror();
  void *found;
#define CEPH_LOAD(result, name, arguments) \
  found = dlsym(__builtin_strncmp(#name, "rbd_", 4) ? rados : rbd, #name); \
  if (!found) return dlerror(); \
  library->name = (result(*) arguments)found;
  CEPH_FUNCTIONS(CEPH_LOAD)
#undef CEPH_LOAD
  return NULL;
}
