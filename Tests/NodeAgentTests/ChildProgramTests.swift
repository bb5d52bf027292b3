import Execution
import Glibc
import TestSupport
import Testing

@testable import NodeAgent

/// Programs that work for the agent.
struct ChildProgramTests {
  @Test("a program ends with the thread that started it, and so with its process, however that ends")
  func doesNotOutlive() async throws {
    let process = try await DedicatedThread(name: "starter").run { () throws(AgentFailure) in
      try ChildProgram.start("sleep", ["1000"], [nil, nil, nil])
    }
    var status: Int32 = 0
    try await eventually("it was killed") { waitpid(process, &status, WNOHANG) == process }
    #expect(status & 0x7f == SIGKILL)
  }

  @Test("a program that is handed a socket is told so, by its own number")
  func socket() async throws {
    let status = try await DedicatedThread(name: "starter").run { () throws(AgentFailure) in
      ChildProgram.wait(
        for: try ChildProgram.start(
          "sh", ["-c", #"[ "$LISTEN_PID" -eq $$ ] && [ "$LISTEN_FDS" = 1 ] && [ -e /proc/$$/fd/3 ]"#],
          [nil, nil, nil, 0], sockets: 1))
    }
    #expect(status == 0)
  }

  @Test("a program has what it is handed and nothing else, and says how it ended; one that is not there is named")
  func descriptors() async throws {
    // As a library leaves its sockets: nothing says that a program is not to have them.
    let leaked = dup(2)
    defer { close(leaked) }
    let result = try await Tool.result("sh", ["-c", "ls /proc/$$/fd; exit 7"])
    #expect(String(decoding: result.output, as: UTF8.self) == "0\n1\n2\n")
    #expect(result.status == 7)
    let missing = await #expect(throws: AgentFailure.self) {
      try await Tool.result("aloft-has-no-such-program", [])
    }
    #expect(missing?.detail == "aloft-has-no-such-program could not be started: No such file or directory")
  }
}
