import Foundation
import Glibc
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

  @Test("a guest that libvirtd had not started yet when it died is off and can be started, and no other is touched")
  func unstarted() async throws {
    let libvirt = try await PrivateLibvirt.start()
    let connection = try await Connection.open(libvirt.uri)
    for name in ["begun", "runs"] {
      let xml = """
        <domain type='qemu'><name>\(name)</name><memory unit='MiB'>32</memory><vcpu>1</vcpu><os><type>hvm</type></os>
        <devices><memballoon model='none'/></devices></domain>
        """
      try await connection.define(xml).start(.paused)
    }
    let guest = try #require(try libvirt.guestPid("begun"))
    try await libvirt.kill9()
    kill(guest, SIGKILL)
    // As libvirt 9.0 writes it before there is a process.
    let status = try #require(
      ["run/libvirt/qemu/begun.xml", "run/libvirt/qemu/run/begun.xml"].map { libvirt.directory.appending(path: $0) }
        .first { FileManager.default.fileExists(atPath: $0.path) })
    var text = try String(contentsOf: status, encoding: .utf8)
    text = text.replacing("pid='\(guest)'>", with: "pid='0'>", maxReplacements: 1)
      .replacing("</qemuCaps>", with: "</qemuCaps><job type='none' async='start' flags='0x1' asyncStarted='1'/>")
    try text.write(to: status, atomically: true, encoding: .utf8)

    try await libvirt.restart()
    let again = try await Connection.open(libvirt.uri)
    let begun = try #require(try await again.domain(named: "begun"))
    #expect(try await !begun.isActive())
    try await begun.start(.paused)
    #expect(try await again.domain(named: "runs")?.isActive() == true)
    try await libvirt.stop()
  }
}
