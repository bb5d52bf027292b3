import AloftModel
import Execution
import Testing

@testable import NodeAgent

/// Says what the test wants; nil: it cannot be reached.
private final class ChangingHypervisor: Hypervisor {
  let answer = Lock<HypervisorFacts?>(nil)

  func facts() async throws(AgentFailure) -> HypervisorFacts {
    guard let answer = answer.withLock({ $0 }) else { throw AgentFailure(.hypervisorUnavailable, "away") }
    return answer
  }
}

@Suite("Host facts")
struct HostFactsTests {
  func facts(flags: String = "fpu vmx sse", kvm: Bool = true, memoryKib: Int = 16_000_000)
    -> HostFacts
  {
    HostFacts(
      architecture: "x86_64", kernel: "6.1", hostname: "h", processors: 8,
      cpuInfo: "processor\t: 0\nmodel name\t: Intel(R) Xeon(R): 2\nflags\t\t: \(flags)\n",
      memoryInfo: "MemTotal:       \(memoryKib) kB\nMemFree: 1 kB\n", kvmDevice: kvm)
  }

  @Test("KVM needs libvirt, the device and the processor to agree")
  func accelerator() {
    #expect(facts().accelerator(.auto, hypervisorOffersKVM: true) == .kvm)
    #expect(facts(flags: "svm").accelerator(.auto, hypervisorOffersKVM: true) == .kvm)
    #expect(facts(flags: "fpu vmxx").accelerator(.auto, hypervisorOffersKVM: true) == .tcg)
    #expect(facts(kvm: false).accelerator(.auto, hypervisorOffersKVM: true) == .tcg)
    #expect(facts().accelerator(.auto, hypervisorOffersKVM: false) == .tcg)
    #expect(facts().accelerator(.tcg, hypervisorOffersKVM: true) == .tcg)
    #expect(facts(kvm: false).accelerator(.kvm, hypervisorOffersKVM: false) == .kvm)
  }

  @Test("the host's own share is taken off, and what the operator fixes is taken as it is")
  func capacity() {
    let space = StorageSpace(total: 1000 << 30, free: 900 << 30)
    let hypervisor = HypervisorFacts(offersKVM: true, facts: ["libvirt_version": "9.0.0"])
    let plain = facts().report(
      CapacitySettings(), hypervisor: hypervisor, space: space, version: "1")
    #expect(plain.vcpus == 8 && plain.memoryMib == 15_625 - 781 && plain.diskGib == 850)
    #expect(plain.facts["cpu_model"] == "Intel(R) Xeon(R): 2" && plain.facts["vmx"] == "true")
    #expect(plain.facts["libvirt_version"] == "9.0.0" && plain.facts["agent_version"] == "1")
    let small = facts(memoryKib: 1 << 20).report(
      CapacitySettings(), hypervisor: hypervisor, space: StorageSpace(total: 4 << 30, free: 4 << 30),
      version: "1")
    #expect(small.memoryMib == 512 && small.diskGib == 3)
    var fixed = CapacitySettings()
    fixed.vcpus = 100
    fixed.memoryMib = 7
    fixed.diskGib = 9
    let lab = facts().report(fixed, hypervisor: hypervisor, space: space, version: "1")
    #expect(lab.vcpus == 100 && lab.memoryMib == 7 && lab.diskGib == 9)
  }

  @Test("what others use of the file system is promised to nobody, what guests have taken already is")
  func disk() {
    func gib(_ space: StorageSpace) -> Int {
      facts().report(CapacitySettings(), hypervisor: HypervisorFacts(offersKVM: true), space: space, version: "1")
        .diskGib
    }
    // 400 GiB are others', 50 the reserve; guests take up what they were promised, and nothing changes.
    #expect(gib(StorageSpace(total: 1000 << 30, free: 600 << 30)) == 550)
    #expect(gib(StorageSpace(total: 1000 << 30, free: 350 << 30, guests: 250 << 30)) == 550)
    #expect(gib(StorageSpace(total: 1000 << 30, free: 10 << 30)) == 0)
  }

  @Test("a host that changes is reported as it is now; while libvirt is away, what it said last holds")
  func changes() async throws {
    let hypervisor = ChangingHypervisor()
    let host = Lock(facts())
    let directory = try TemporaryDirectory()
    let reporter = NodeReporter(
      settings: CapacitySettings(), version: "1", hypervisor: hypervisor,
      storage: try await DirectoryStorage.open(directory.path, logger: quietLogger)
    ) { host.withLock { $0 } }
    hypervisor.answer.withLock { $0 = nil }
    await #expect(throws: AgentFailure.self) { try await reporter.refresh() }
    await #expect(throws: AgentFailure.self) { try await reporter.report() }

    hypervisor.answer.withLock { $0 = HypervisorFacts(offersKVM: false, facts: ["qemu_version": "7.2.0"]) }
    #expect(try await reporter.refresh())
    #expect(try await reporter.report().accelerator == .tcg)
    hypervisor.answer.withLock { $0 = HypervisorFacts(offersKVM: true, facts: ["qemu_version": "8.0.0"]) }
    host.withLock { $0.memoryMib *= 2 }
    #expect(try await reporter.refresh())
    hypervisor.answer.withLock { $0 = nil }
    _ = try await reporter.refresh()
    let report = try await reporter.report()
    #expect(report.accelerator == .kvm && report.facts["qemu_version"] == "8.0.0")
    #expect(report.memoryMib == 31_250 - 1562)
  }

  @Test("the agent looks at its host every minute, and when libvirt is back")
  func schedule() {
    var machine = AgentMachine(now: AgentTime(uptime: 0, wall: 0), seed: 1)
    func looks(_ event: AgentEvent, at uptime: Int) -> Bool {
      machine.handle(event, now: AgentTime(uptime: uptime, wall: uptime)).contains(.readFacts)
    }
    #expect(!looks(.wake, at: 59_999))
    #expect(looks(.wake, at: 60_000))
    #expect(!looks(.wake, at: 200_000), "one is under way")
    #expect(!looks(.factsRead(nil), at: 200_001))
    #expect(looks(.hypervisor(.resynchronize), at: 200_002))
    #expect(!looks(.factsRead(AgentFailure(.storage, "no")), at: 200_003))
    #expect(looks(.wake, at: 210_003), "a failure is not waited for that long")
  }

  @Test("this host can be read")
  func thisHost() async {
    let facts = await HostFacts.read()
    #expect(
      facts.processors > 0 && facts.memoryMib > 0 && !facts.kernel.isEmpty
        && !facts.hostname.isEmpty)
  }
}
