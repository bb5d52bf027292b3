import CConfinement
import Glibc

/// Takes from the calling process what it does not need to read one open file and to write an answer. There is no way back.
///
/// To be called before the first untrusted byte is read, while the process has one thread.
package struct Confinement: Sendable {
  /// Memory beyond what the process has mapped when it is confined, in bytes.
  package var memoryBytes: UInt64
  /// Seconds of CPU time in all.
  package var cpuSeconds: UInt64

  package init(memoryBytes: UInt64, cpuSeconds: UInt64) {
    self.memoryBytes = memoryBytes
    self.cpuSeconds = cpuSeconds
  }

  /// Something that must hold could not be set.
  package struct Failure: Error {
    package let what: String
    package let errno: Int32
  }

  /// Confines the process and says what holds. Limits and the loss of privileges must; of system call filter and namespaces
  /// holds what the kernel allows.
  package func apply() throws(Failure) -> Set<Measure> {
    var measures: Set<Measure> = [.limits, .noNewPrivileges]
    let (space, overflow) = try addressSpace().addingReportingOverflow(memoryBytes)
    try require("no new privileges", aloft_no_new_privileges())
    _ = aloft_die_with_parent()
    _ = aloft_not_dumpable()
    if aloft_leave_network() == 0 { measures.insert(.ownNetwork) }
    try limit(__rlimit_resource_t(RLIMIT_AS.rawValue), overflow ? .max : space, "address space")
    // A second more before SIGKILL, so that SIGXCPU tells what it died of.
    try limit(__rlimit_resource_t(RLIMIT_CPU.rawValue), cpuSeconds, "CPU time", grace: 1)
    try limit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), 0, "file size")
    try limit(__rlimit_resource_t(RLIMIT_CORE.rawValue), 0, "core size")
    // No descriptor beyond those that are open already.
    try limit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), 0, "open files")
    if aloft_only_read_and_write() == 0 { measures.insert(.systemCallFilter) }
    return measures
  }

  private func limit(
    _ resource: __rlimit_resource_t, _ value: UInt64, _ what: String, grace: UInt64 = 0
  ) throws(Failure) {
    var limit = rlimit(rlim_cur: rlim_t(value), rlim_max: rlim_t(value + grace))
    try require(what, setrlimit(resource, &limit) == 0 ? 0 : errno)
  }

  private func require(_ what: String, _ code: Int32) throws(Failure) {
    guard code == 0 else { throw Failure(what: what, errno: code) }
  }

  /// What the process has mapped now, in bytes: programs and libraries differ too much for an absolute limit.
  private func addressSpace() throws(Failure) -> UInt64 {
    let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw Failure(what: "address space", errno: errno) }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 128)
    let count = read(file, &bytes, bytes.count)
    let first = bytes.prefix(max(0, count)).prefix { (48...57).contains($0) }
    guard let pages = UInt64(String(decoding: first, as: UTF8.self)) else {
      throw Failure(what: "address space", errno: EIO)
    }
    return pages * UInt64(sysconf(Int32(_SC_PAGESIZE)))
  }
}
