import AloftModel
import Testing

@testable import NodeAgent

@Suite("Plan")
struct PlanTests {
  static let reboot = Assignment.Request.sample(1)
  static let whole = VMFiles(seed: true, any: true)

  func domain(
    _ power: DomainPower, incarnation: Int = 2, generation: Int = 5, ran: Int = 5,
    guestStopped: Bool = false
  ) -> VMDomain {
    VMDomain(
      vm: .sample(1),
      tag: DomainTag(
        incarnation: incarnation, generation: generation, ranGeneration: ran,
        guestStopped: guestStopped, digest: "d"),
      power: power)
  }

  func plan(
    _ desired: Assignment, _ domain: VMDomain?, files: VMFiles = whole,
    journal: VMJournal = VMJournal(),
    stop: StopProgress? = nil, now: Int = 1_000_000
  ) -> Plan {
    Plan.make(
      desired, ActualVM(domain: domain, files: files, journal: journal), digest: "d", stop: stop,
      now: now)
  }

  func tag(_ ran: Int, generation: Int = 5, guestStopped: Bool = false) -> Step {
    .setTag(
      DomainTag(
        incarnation: 2, generation: generation, ranGeneration: ran, guestStopped: guestStopped,
        digest: "d"))
  }

  @Test("a new VM is made step by step: seed, definition, start")
  func creation() {
    let define = Step.define(DomainTag(incarnation: 2, generation: 5, digest: "d"))
    #expect(
      plan(.sample(), nil, files: VMFiles()).steps == [
        .createSeed, define, .start,
      ])
    #expect(
      plan(.sample(power: .stopped), nil, files: VMFiles()).steps == [
        .createSeed, define,
      ])
  }

  @Test("a domain that was deleted behind Aloft's back is defined again with the disk it had")
  func redefinition() {
    #expect(
      plan(.sample(), nil).steps == [
        .define(DomainTag(incarnation: 2, generation: 5, digest: "d")), .start,
      ])
  }

  @Test("what runs and should run is left alone")
  func atRest() {
    #expect(plan(.sample(), domain(.running)) == Plan())
    #expect(plan(.sample(power: .stopped), domain(.off(.destroyed))) == Plan())
  }

  @Test("a newer document of a running guest is only noted in its tag")
  func newerDocument() {
    #expect(plan(.sample(generation: 6), domain(.running)).steps == [tag(6, generation: 6)])
  }

  @Test("an older document changes nothing", arguments: [(1, 9), (2, 4)])
  func oldNews(incarnation: Int, generation: Int) {
    for power in Power.allCases {
      let document = Assignment.sample(
        incarnation: incarnation, generation: generation, power: power, grace: 0)
      #expect(plan(document, domain(.running)) == Plan(isOldNews: true))
    }
  }

  @Test("delete wins over an equal or newer generation, not over a newer incarnation")
  func deletion() {
    let gone: [Step] = [.destroy, .undefine, .removeFiles]
    #expect(plan(.sample(generation: 1, deleted: true), domain(.running)).steps == gone)
    #expect(
      plan(.sample(deleted: true, requests: [Self.reboot]), domain(.paused(.other))).steps == gone)
    #expect(
      plan(.sample(deleted: true), domain(.off(.unknown))).steps == [.undefine, .removeFiles])
    #expect(plan(.sample(deleted: true), nil).steps == [.removeFiles])
    #expect(plan(.sample(deleted: true), nil, files: VMFiles()) == Plan())
    #expect(plan(.sample(incarnation: 1, deleted: true), domain(.running)) == Plan(isOldNews: true))
  }

  @Test("an older incarnation is destroyed before the newer one is defined")
  func incarnations() {
    #expect(
      plan(.sample(incarnation: 3, generation: 1), domain(.running)).steps
        == [
          .destroy, .undefine, .define(DomainTag(incarnation: 3, generation: 1, digest: "d")),
          .start,
        ])
  }

  @Test("a guest that turned itself off stays off, and that is written down")
  func guestStopped() {
    let off = plan(.sample(), domain(.off(.guestShutdown)))
    #expect(off.guestStopped)
    #expect(off.steps == [tag(5, guestStopped: true)])
    // libvirtd forgot why, the tag did not.
    #expect(plan(.sample(), domain(.off(.unknown), guestStopped: true)) == Plan(guestStopped: true))
    // Started again by a newer document.
    #expect(
      plan(.sample(generation: 6), domain(.off(.guestShutdown), guestStopped: true)).steps == [
        .start
      ])
  }

  @Test(
    "a guest that did not go by itself is started again", arguments: DomainPower.OffCause.allCases)
  func started(cause: DomainPower.OffCause) {
    guard cause != .guestShutdown else { return }
    #expect(plan(.sample(), domain(.off(cause))).steps == [.start])
  }

  @Test("a definition that is out of date is renewed before a start, never under a running guest")
  func digest() {
    var old = domain(.off(.destroyed))
    old.tag.digest = "old"
    #expect(plan(.sample(), old).steps.count == 2)
    old.power = .running
    #expect(plan(.sample(), old) == Plan())
  }

  @Test("a stop asks, asks again, and cuts the power when the grace is over")
  func stopping() {
    let document = Assignment.sample(power: .stopped, grace: 30)
    let journal = VMJournal(stop: VMJournal.Stop(incarnation: 2, askedAt: 0))
    #expect(plan(document, domain(.running)).steps == [.requestShutdown])
    let asked = StopProgress(askedFirst: 1_000_000, askedLast: 1_000_000)
    #expect(
      plan(document, domain(.running), journal: journal, stop: asked) == Plan(wakeAt: 1_010_000))
    #expect(
      plan(document, domain(.running), journal: journal, stop: asked, now: 1_010_000).steps == [
        .requestShutdown
      ])
    #expect(
      plan(document, domain(.shuttingDown), journal: journal, stop: asked)
        == Plan(wakeAt: 1_030_000))
    #expect(
      plan(document, domain(.running), journal: journal, stop: asked, now: 1_030_000).steps == [
        .destroy
      ])
    #expect(
      plan(document, domain(.off(.guestShutdown)), journal: journal, stop: asked).steps == [
        .forgetStop
      ])
    // Another process of the agent asks at once, with the same deadline.
    let inherited = StopProgress(askedFirst: 980_000)
    #expect(
      plan(document, domain(.running), journal: journal, stop: inherited).steps == [
        .requestShutdown
      ])
    #expect(plan(document, domain(.running), journal: journal, stop: inherited).wakeAt == 1_010_000)
    #expect(plan(.sample(power: .stopped, grace: 0), domain(.running)).steps == [.destroy])
  }

  @Test("a power that was cut because the guest did not go is written down; one that nobody waited for is not")
  func powerCut() {
    let document = Assignment.sample(power: .stopped, grace: 30)
    let journal = VMJournal(stop: VMJournal.Stop(incarnation: 2, askedAt: 0))
    let asked = StopProgress(askedFirst: 1_000_000, askedLast: 1_000_000)
    var cut = domain(.off(.destroyed)).tag
    cut.powerCut = true
    func steps(_ power: DomainPower, grace: Int = 30, now: Int) -> [Step] {
      var document = document
      document.stopGraceSeconds = grace
      return plan(document, domain(power), journal: journal, stop: asked, now: now).steps
    }
    #expect(steps(.off(.destroyed), now: 1_030_000) == [.setTag(cut), .forgetStop])
    #expect(steps(.off(.destroyed), now: 1_029_999) == [.forgetStop], "somebody else cut it")
    #expect(steps(.off(.destroyed), grace: 0, now: 1_030_000) == [.forgetStop])
    #expect(steps(.off(.guestShutdown), now: 1_030_000) == [.forgetStop])
    // It stays until the guest runs again.
    let off = VMDomain(vm: .sample(1), tag: cut, power: .off(.destroyed))
    #expect(plan(document, off) == Plan())
    let runs = VMDomain(vm: .sample(1), tag: cut, power: .running)
    #expect(plan(.sample(), runs).steps == [tag(5)])
  }

  @Test("a guest that goes off because it was asked is started when it is wanted again")
  func stopThenStart() {
    let journal = VMJournal(stop: VMJournal.Stop(incarnation: 2, askedAt: 0))
    let asked = StopProgress(askedFirst: 1_000_000, askedLast: 1_000_000)
    let wanted = Assignment.sample(generation: 7)
    let running = plan(wanted, domain(.running, generation: 6), journal: journal, stop: asked)
    #expect(running == Plan([tag(5, generation: 7)], wakeAt: 1_030_000))
    let off = plan(
      wanted, domain(.off(.guestShutdown), generation: 7), journal: journal, stop: asked)
    #expect(off.steps == [.forgetStop, .start])
    // The agent died between the two.
    #expect(plan(wanted, domain(.off(.guestShutdown), generation: 7)).steps == [.start])
    // It never went off: from the deadline on, what it does is its own doing.
    let later = plan(
      wanted, domain(.running, generation: 7), journal: journal, stop: asked, now: 1_030_000)
    #expect(later.steps == [.forgetStop])
  }

  @Test("requests are carried out on a running guest once, and are done for one that is off")
  func requests() {
    let document = Assignment.sample(requests: [Self.reboot])
    #expect(plan(document, domain(.running)).steps == [.carryOut(Self.reboot)])
    let begun = VMJournal(requests: [Self.reboot.id])
    #expect(plan(document, domain(.running), journal: begun) == Plan())
    #expect(plan(document, domain(.off(.failed))).steps == [.completeRequest(Self.reboot), .start])
    #expect(
      plan(.sample(power: .stopped, requests: [Self.reboot]), domain(.off(.unknown))).steps
        == [.completeRequest(Self.reboot)])
  }

  @Test("a paused guest is resumed, a panicked one started anew")
  func pausedAndPanicked() {
    #expect(plan(.sample(), domain(.paused(.ioError))).steps == [.resume])
    #expect(plan(.sample(), domain(.panicked)).steps == [.destroy, .start])
    #expect(plan(.sample(power: .stopped), domain(.panicked)).steps == [.destroy])
  }
}
