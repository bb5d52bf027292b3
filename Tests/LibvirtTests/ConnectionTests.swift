import Foundation
import Libvirt
import LibvirtTestSupport
import TestSupport
import Testing

@Suite struct ConnectionTests {
  @Test("a libvirtd that is not there is connectionLost or an error of its socket, at once")
  func nobodyThere() async throws {
    do {
      _ = try await Connection.open("qemu+unix:///system?socket=/nonexistent/libvirt-sock")
      Issue.record("opened a socket that does not exist")
    } catch {
      #expect(error.code == .systemError || error.code == .connectionLost)
    }
  }

  @Test("lifecycle events arrive in order, and the stream ends when the connection is closed")
  func events() async throws {
    let connection = try await TestHypervisor.open()
    let events = try await connection.domainEvents()
    let domain = try await connection.define(TestHypervisor.domainXML("one"))
    try await domain.start()
    try await domain.suspend()
    try await domain.destroy()
    var kinds: [DomainEvent.Kind] = []
    for await event in events where event.uuid == domain.uuid {
      kinds.append(event.kind)
      if kinds.count == 4 { await connection.close() }
    }
    #expect(
      kinds == [
        .lifecycle(.defined), .lifecycle(.started), .lifecycle(.suspended(.paused)), .lifecycle(.stopped(.destroyed)),
      ])
  }

  @Test("after closing, the reason is known, listeners are told, and calls fail as connectionLost")
  func closing() async throws {
    let connection = try await TestHypervisor.open()
    #expect(await connection.isAlive())
    let (told, continuation) = AsyncStream.makeStream(of: CloseReason.self)
    connection.onClose { continuation.yield($0) }
    await connection.close()
    for await reason in told {
      #expect(reason == .client)
      break
    }
    #expect(connection.closeReason == .client)
    #expect(await connection.isAlive() == false)
    await expect(.connectionLost) { _ = try await connection.domains() }
    await connection.close()
  }

  @Test("a reader that falls behind is disconnected, never skipped")
  func slowReader() async throws {
    let connection = try await TestHypervisor.open()
    let events = try await connection.domainEvents()
    let domain = try await connection.define(TestHypervisor.domainXML("one"))
    for _ in 0..<(Connection.eventBufferSize / 2 + 10) {
      try await domain.start()
      try await domain.destroy()
    }
    // Events come behind the calls that cause them, those of all connections on one thread: when another connection got
    // two, one after the other, all of these are there. Whoever reads before might keep up.
    let other = try await TestHypervisor.open()
    var marks = try await other.domainEvents().makeAsyncIterator()
    for name in ["two", "three"] {
      _ = try await other.define(TestHypervisor.domainXML(name))
      _ = await marks.next()
    }
    var count = 0
    var expectsStart = true
    for await event in events {
      count += 1
      if event.kind == .lifecycle(.defined) { continue }
      #expect(event.kind == .lifecycle(expectsStart ? .started : .stopped(.destroyed)))
      expectsStart.toggle()
    }
    #expect(count == Connection.eventBufferSize)
  }

  @Test("connections that are closed or forgotten leave no socket open, with or without event streams")
  func noLeaks() async throws {
    let libvirt = try await PrivateLibvirt.start()
    // Counted at the far end, where no other test's files are.
    let pid = try String(contentsOf: libvirt.directory.appending(path: "run/libvirtd.pid"), encoding: .utf8)
      .trimmingCharacters(in: .whitespacesAndNewlines)
    func openFiles() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count }
    let before = try openFiles()
    for index in 0..<12 {
      let connection = try await Connection.open(libvirt.uri)
      let events = index % 3 == 0 ? nil : try await connection.domainEvents()
      if index.isMultiple(of: 2) { await connection.close() }
      _ = events
    }
    _ = try await found("return to \(before) open files") { try openFiles() <= before ? true : nil }
    try await libvirt.stop()
  }
}
