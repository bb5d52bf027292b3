import Glibc
import Logging

/// How many files the process may open, sockets among them (getrlimit(2)).
enum OpenFiles {
  /// Raises the soft limit to the hard one. The soft one is often 1024, for the sake of programs that use select(2);
  /// this one does not, and every connection is a file.
  static func raiseLimit(_ logger: Logger) {
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    var limit = rlimit()
    guard getrlimit(resource, &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
    let before = limit.rlim_cur
    limit.rlim_cur = limit.rlim_max
    guard setrlimit(resource, &limit) == 0 else {
      logger.warning("the limit of open files stays", metadata: ["limit": "\(before)", "errno": "\(errno)"])
      return
    }
    logger.debug("the limit of open files was raised", metadata: ["from": "\(before)", "to": "\(limit.rlim_cur)"])
  }
}
