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

  @Test("a program has what it is handed and nothing else, and says how it ended")
  func descriptors() async throws {
    // As a library leaves its sockets: nothing says that a program is not to have them.
    let leaked = dup(2)
    defer { close(leaked) }
    let result = try await Tool.result("sh", ["-c", "ls /proc/$$/fd; exit 7"])
    #expect(String(decoding: result.output, as: UTF8.self) == "0\n1\n2\n")
    #expect(result.status == 7)
    let missing = try await Tool.result("aloft-has-no-such-program", [])
    #expect(missing.status == 127)
    #expect(missing.complaint.contains("not found"))
  }
}
