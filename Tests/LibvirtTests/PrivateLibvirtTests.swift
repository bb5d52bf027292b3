import Foundation
import Libvirt
import LibvirtTestSupport
import TestSupport
import Testing

@Suite struct PrivateLibvirtTests {
  @Test("starting twice is starting once, whatever the path's length, and stopping takes the guests only if asked")
  func script() async throws {
    let long = String(repeating: "long-", count: 30)
    let parent = FileManager.default.temporaryDirectory.appending(path: "aloft-\(long)\(UUID().uuidString.prefix(8))")
    defer { try? FileManager.default.removeItem(at: parent) }
    let directory = parent.appending(path: "libvirt").path
    let program = LibvirtTestSupport.script("libvirt-private")

    let first = try await run(program, "start", directory)
    let second = try await run(program, "start", directory)
    #expect(first == second)
    let uri = first.trimmingCharacters(in: .whitespacesAndNewlines)
    let connection = try await Connection.open(uri)
    let xml = """
      <domain type='qemu'><name>one</name><memory unit='MiB'>32</memory><vcpu>1</vcpu><os><type>hvm</type></os>
      <devices><memballoon model='none'/></devices></domain>
      """
    try await connection.define(xml).start(.paused)
    #expect(try await run(program, "status", directory).contains("guests=1"))

    try await run(program, "stop", directory)
    await #expect(throws: CommandFailure.self) { try await run(program, "status", directory) }
    _ = try await run(program, "start", directory)
    let again = try await Connection.open(uri)
    #expect(try await again.domain(named: "one")?.isActive() == true)

    try await run(program, "stop", directory, "--guests")
    try await run(program, "stop", directory, "--guests")
    await #expect(throws: CommandFailure.self) { try await run(program, "kill9", directory) }
  }
}
