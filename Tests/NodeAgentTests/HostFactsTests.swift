import AloftModel
import Testing

@testable import NodeAgent

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
    #expect(plain.vcpus == 8 && plain.memoryMib == 15_625 - 781 && plain.diskGib == 950)
    #expect(plain.facts["cpu_model"] == "Intel(R) Xeon(R): 2" && plain.facts["vmx"] == "true")
    #expect(plain.facts["libvirt_version"] == "9.0.0" && plain.facts["agent_version"] == "1")
    let small = facts(memoryKib: 1 << 20).report(
      CapacitySettings(), hypervisor: hypervisor, space: StorageSpace(total: 4 << 30, free: 0),
      version: "1")
    #expect(small.memoryMib == 512 && small.diskGib == 3)
    var fixed = CapacitySettings()
    fixed.vcpus = 100
    fixed.memoryMib = 7
    fixed.diskGib = 9
    let lab = facts().report(fixed, hypervisor: hypervisor, space: space, version: "1")
    #expect(lab.vcpus == 100 && lab.memoryMib == 7 && lab.diskGib == 9)
  }

  @Test("this host can be read")
  func thisHost() async {
    let facts = await HostFacts.read()
    #expect(
      facts.processors > 0 && facts.memoryMib > 0 && !facts.kernel.isEmpty
        && !facts.hostname.isEmpty)
  }
}
