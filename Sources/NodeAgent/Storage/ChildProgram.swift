import CLinux
import Glibc

/// A program of the host that works for this process, on its files and sockets.
///
/// Invariants:
/// - It does not outlive this process, however that ends: the next agent reads what it finds, and nobody changes that behind it.
/// - It has what it is handed, and nothing else that this process has open.
enum ChildProgram {
  /// Finds `program` by PATH and starts it. It ends with the calling thread, which therefore has to wait for it.
  ///
  /// - Parameter descriptors: the program's own, in order from 0 on; nil: it reads nothing, or what it writes is thrown away.
  static func start(
    _ program: String, _ arguments: [String], _ descriptors: [Int32?]
  ) throws(AgentFailure) -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    // Above all numbers first: what is handed on may have one of those that are given out here.
    let spare = (descriptors.compactMap { $0 }.max() ?? 0) + Int32(descriptors.count) + 1
    for (number, descriptor) in descriptors.enumerated() {
      if let descriptor { posix_spawn_file_actions_adddup2(&actions, descriptor, spare + Int32(number)) }
    }
    for (number, descriptor) in descriptors.enumerated() {
      if descriptor != nil {
        posix_spawn_file_actions_adddup2(&actions, spare + Int32(number), Int32(number))
      } else {
        posix_spawn_file_actions_addopen(&actions, Int32(number), "/dev/null", number == 0 ? O_RDONLY : O_WRONLY, 0)
      }
    }
    posix_spawn_file_actions_addclosefrom_np(&actions, Int32(descriptors.count))
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // Neither what this process ignores nor what its threads block is the program's business.
    var (none, all) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    // prctl(2), PR_SET_PDEATHSIG; whose parent has died before that has another one now. The number is for programs that are handed a
    // socket (sd_listen_fds(3)).
    let script = #"[ "$PPID" = "$0" ] && LISTEN_PID=$$ exec "$@""#
    var words: [UnsafeMutablePointer<CChar>?] =
      (["setpriv", "--pdeathsig", "KILL", "sh", "-c", script, "\(getpid())", program] + arguments).map { strdup($0) }
    words.append(nil)
    defer { for word in words { free(word) } }
    var process = pid_t()
    let code = posix_spawnp(&process, "setpriv", &actions, &attributes, words, environ)
    guard code == 0 else {
      throw AgentFailure(
        .hypervisorRefused, "\(program) could not be started, setpriv: \(String(cString: strerror(code)))")
    }
    return process
  }

  /// Waits for its end; 128 + the signal's number if one ended it.
  @discardableResult
  static func wait(for process: pid_t) -> Int32 {
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 && errno == EINTR {}
    return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + (status & 0x7f)
  }
}
