import Foundation
import Libvirt
import Testing

@Suite struct DomainTests {
  @Test("a domain is defined, started, suspended, resumed, destroyed and undefined")
  func lifecycle() async throws {
    let connection = try await TestHypervisor.open()
    let domain = try await connection.define(TestHypervisor.domainXML("one"))
    #expect(try await domain.state() == .shutOff(.unknown))
    try await domain.start()
    #expect(try await domain.state() == .running(.booted))
    try await domain.suspend()
    #expect(try await domain.state() == .paused(.user))
    try await domain.resume()
    #expect(try await domain.state() == .running(.unpaused))
    try await domain.destroy()
    #expect(try await domain.state() == .shutOff(.destroyed))
    try await domain.undefine(.portable)
    await expect(.noDomain) { _ = try await domain.state() }
  }

  @Test("the list tells state, persistence and our metadata of every domain")
  func list() async throws {
    let connection = try await TestHypervisor.open()
    let running = try await connection.define(TestHypervisor.domainXML("running"))
    let stopped = try await connection.define(TestHypervisor.domainXML("stopped"))
    try await running.start()
    try await running.setMetadata("<vm incarnation='7'/>", namespace: "urn:aloft", prefix: "aloft")
    let domains = try await connection.domains(metadataNamespace: "urn:aloft")
    let first = try #require(domains.first { $0.uuid == running.uuid })
    #expect(first.name == "running" && first.state == .running(.booted) && first.isPersistent)
    #expect(try ParsedXML(try #require(first.metadata)).text("/vm/@incarnation") == "7")
    let second = try #require(domains.first { $0.uuid == stopped.uuid })
    #expect(second.state.isActive == false && second.metadata == nil)
  }

  @Test("metadata set on a running domain is in its stored definition too, and can be removed")
  func metadata() async throws {
    let connection = try await TestHypervisor.open()
    let domain = try await connection.define(TestHypervisor.domainXML("one"))
    #expect(try await domain.metadata(namespace: "urn:aloft") == nil)
    try await domain.start()
    try await domain.setMetadata("<vm generation='3'/>", namespace: "urn:aloft", prefix: "aloft")
    try await domain.destroy()
    let stored = try ParsedXML(try #require(try await domain.metadata(namespace: "urn:aloft")))
    #expect(stored.text("/vm/@generation") == "3")
    try await domain.setMetadata(nil, namespace: "urn:aloft", prefix: "aloft")
    #expect(try await domain.metadata(namespace: "urn:aloft") == nil)
  }

  @Test("errors tell what happened in a code")
  func errors() async throws {
    let connection = try await TestHypervisor.open()
    let domain = try await connection.define(TestHypervisor.domainXML("one"))
    await expect(.operationInvalid) { try await domain.destroy() }
    await expect(.noDomain) { _ = try await connection.domain(UUID()).xml() }
    await expect(.invalidXML) { _ = try await connection.define("<domain type='test'><name>x</name><nope/></domain>") }
    await expect(.invalidXML) { _ = try await connection.define("<domain") }
    await expect(.domainExists) { _ = try await connection.define(TestHypervisor.domainXML("one", uuid: UUID())) }
    #expect(try await connection.domain(named: "nobody") == nil)
    #expect(try await connection.domain(named: "one")?.uuid == domain.uuid)
  }

  @Test("a domain that is off can be renamed and resized, and start with the host")
  func configuration() async throws {
    let connection = try await TestHypervisor.open()
    let domain = try await connection.define(TestHypervisor.domainXML("one"))
    try await domain.rename("two")
    #expect(try await domain.name() == "two")
    try await domain.setMaximumMemory(kibibytes: 131_072)
    try await domain.setMemory(kibibytes: 98_304)
    try await domain.setMaximumVCPUs(4)
    try await domain.setVCPUs(2)
    try await domain.setAutostart(true)
    #expect(try await domain.autostart())
    let xml = try ParsedXML(try await domain.xml(.stored))
    #expect(xml.integer("/domain/memory") == 131_072 && xml.integer("/domain/currentMemory") == 98_304)
    #expect(xml.integer("/domain/vcpu") == 4 && xml.integer("/domain/vcpu/@current") == 2)
  }

  @Test("calls of many tasks on one connection all get their own answers")
  func parallel() async throws {
    let connection = try await TestHypervisor.open()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<40 {
        group.addTask {
          let domain = try await connection.define(TestHypervisor.domainXML("vm\(index)"))
          try await domain.start()
          #expect(try await domain.name() == "vm\(index)")
          await expect(.noDomain) { _ = try await connection.domain(UUID()).state() }
        }
      }
      try await group.waitForAll()
    }
    #expect(try await connection.domains().filter { $0.name.hasPrefix("vm") && $0.state.isActive }.count == 40)
  }
}

/// Expects a libvirt error of this code.
func expect(
  _ code: LibvirtError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async {
  do {
    try await body()
    Issue.record("expected \(code), got no error", sourceLocation: sourceLocation)
  } catch let error as LibvirtError {
    #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
  } catch {
    Issue.record(error, sourceLocation: sourceLocation)
  }
}
