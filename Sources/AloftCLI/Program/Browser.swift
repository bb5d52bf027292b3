import Execution
import Glibc

/// The browser of the person who runs the program.
enum Browser {
  /// Shows a page, if there is a desktop and a person at the terminal; nothing tells whether it worked, so the URL is printed too.
  static func open(_ url: String, environment: [String: String]) async {
    let hasDesktop = ["DISPLAY", "WAYLAND_DISPLAY"].contains { environment[$0]?.isEmpty == false }
    guard hasDesktop, isatty(STDIN_FILENO) == 1, isatty(STDOUT_FILENO) == 1 else { return }
    await DedicatedThread(name: "browser").run { spawn(["xdg-open", url]) }
  }

  /// In a process group of its own: Ctrl-C here must not end the browser, nor may the browser write to this terminal.
  private static func spawn(_ words: [String]) {
    var attributes = posix_spawnattr_t()
    var actions = posix_spawn_file_actions_t()
    posix_spawnattr_init(&attributes)
    posix_spawn_file_actions_init(&actions)
    defer {
      posix_spawnattr_destroy(&attributes)
      posix_spawn_file_actions_destroy(&actions)
    }
    for descriptor in 0...2 as ClosedRange<Int32> {
      posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
    }
    // This program blocks signals in all its threads, and ignores SIGPIPE.
    var (none, defaults) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    sigemptyset(&defaults)
    sigaddset(&defaults, SIGPIPE)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var child = pid_t()
    posix_spawnp(&child, words[0], &actions, &attributes, &arguments, environ)
  }
}
