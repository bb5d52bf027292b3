import Glibc
import HTTP
import HTTPTypes
import TestSupport
import Testing

@Suite("Running out of file descriptors")
struct DescriptorTests {
  static let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

  /// In a process of its own: the limit is for all of a process.
  @Test("a client is turned away when no descriptor is left, and the server serves on when there is one again")
  func outOfDescriptors() async {
    await #expect(processExitsWith: .success) {
      var limit = rlimit(rlim_cur: 64, rlim_max: 64)
      try #require(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
      try await withServer(responder: echo) { server, port in
        let first = try await TestClient.connect(port: port)
        #expect(try await first.request(Self.get).status == 200)
        var hoard: [Int32] = []
        while true {
          let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
          if descriptor < 0 { break }
          hoard.append(descriptor)
        }
        // For the client's end; none is left for the server's.
        close(hoard.removeLast())
        let refused = try await TestClient.connect(port: port)
        #expect(try await refused.isClosedByServer())
        #expect(server.statistics().descriptorShortages >= 1)
        #expect(try await first.request(Self.get).status == 200)
        for descriptor in hoard { close(descriptor) }
        let next = try await TestClient.connect(port: port)
        #expect(try await next.request(Self.get).status == 200)
      }
    }
  }
}
