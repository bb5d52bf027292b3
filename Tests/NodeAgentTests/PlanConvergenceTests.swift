import AloftModel
import Testing

@testable import NodeAgent

/// Carries steps out on a value.
private struct Model {
  var actual: ActualVM
  var stop: StopProgress?
  var now = 1_000_000
  var destroyed = 0
  var starts = 0
  var carriedOut = 0

  mutating func perform(_ step: Step, _ document: Assignment) {
    switch step {
    case .createSeed:
      actual.files.seed = true
      actual.files.any = true
    case .define(let tag):
      actual.domain = VMDomain(
        vm: document.vm, tag: tag, power: actual.domain?.power ?? .off(.unknown))
    case .start:
      starts += 1
      actual.domain?.power = .running
    case .startHeld:
      starts += 1
      actual.domain?.power = .paused(.asked)
      actual.nics = (document.nics ?? []).map { DomainNIC(id: $0.id, mac: $0.mac) }
    case .restore:
      starts += 1
      actual.domain?.power = .paused(.other)
      actual.nics = (document.nics ?? []).map { DomainNIC(id: $0.id, mac: $0.mac) }
    case .release, .resume: actual.domain?.power = .running
    case .plug(let nic): actual.nics.append(DomainNIC(id: nic.id, mac: nic.mac))
    case .unplug(let nic): actual.nics.removeAll { $0.id == nic }
    case .attach(let disk):
      actual.disks.append(
        DomainDisk(volume: disk.volume, source: .file(""), target: "vdb", limits: disk.limits ?? IOLimits()))
    case .limit(let disk):
      for index in actual.disks.indices where actual.disks[index].volume == disk.volume {
        actual.disks[index].limits = disk.limits ?? IOLimits()
      }
    case .detach(let volume): actual.disks.removeAll { $0.volume == volume }
    case .requestShutdown:
      actual.journal.stop =
        actual.journal.stop ?? VMJournal.Stop(incarnation: document.incarnation, askedAt: 0)
      actual.journal.stop?.incarnation = document.incarnation
      stop = StopProgress(askedFirst: stop?.askedFirst ?? now, askedLast: now)
    case .forgetStop:
      actual.journal.stop = nil
      stop = nil
    case .destroy:
      destroyed += 1
      actual.domain?.power = .off(.destroyed)
    case .undefine: actual.domain = nil
    case .removeFiles:
      actual.files = VMFiles()
      actual.journal = VMJournal()
    case .setTag(let tag): actual.domain?.tag = tag
    case .carryOut(let request):
      carriedOut += 1
      actual.journal.requests.insert(request.id)
    case .completeRequest(let request): actual.journal.requests.insert(request.id)
    }
  }
}

@Suite("Plan, from everywhere")
struct PlanConvergenceTests {
  static let powers: [DomainPower] =
    [.running, .paused(.asked), .paused(.ioError), .shuttingDown, .suspended, .panicked]
    + DomainPower.OffCause.allCases.map { .off($0) }

  static let domains: [VMDomain?] =
    [nil]
    + powers.flatMap { power in
      [1, 2, 3].flatMap { incarnation in
        [4, 5, 6].flatMap { generation in
          [0, 5].flatMap { ran in
            [false, true].map { guestStopped in
              VMDomain(
                vm: .sample(1),
                tag: DomainTag(
                  incarnation: incarnation, generation: generation, ranGeneration: ran,
                  guestStopped: guestStopped,
                  digest: "d"), power: power)
            }
          }
        }
      }
    }

  static let documents: [Assignment] = [false, true].flatMap { deleted in
    Power.allCases.flatMap { power in
      [0, 30].flatMap { grace in
        [[], [Assignment.Request.sample(1)]].map { requests in
          Assignment.sample(deleted: deleted, power: power, grace: grace, requests: requests)
        }
      }
    }
  }

  static let files = [
    VMFiles(), VMFiles(any: true), VMFiles(seed: true, any: true),
  ]
  static let journals = [
    VMJournal(), VMJournal(stop: VMJournal.Stop(incarnation: 2, askedAt: 0)),
    VMJournal(requests: [Assignment.Request.sample(1).id]),
  ]

  @Test("from every situation a VM comes to rest where its document wants it", arguments: documents)
  func convergence(document: Assignment) {
    for domain in Self.domains {
      for files in domain == nil ? Self.files : [PlanTests.whole] {
        for journal in Self.journals {
          check(document, ActualVM(domain: domain, files: files, journal: journal))
        }
      }
    }
  }

  private func check(_ document: Assignment, _ start: ActualVM) {
    var model = Model(actual: start)
    if start.journal.stop != nil { model.stop = StopProgress(askedFirst: model.now) }
    var turns = 0
    while true {
      let plan = Plan.make(document, model.actual, digest: "d", stop: model.stop, now: model.now)
      turns += 1
      guard turns < 30 else {
        Issue.record("\(start) does not come to rest: \(plan)")
        return
      }
      if let step = plan.steps.first {
        model.perform(step, document)
      } else if let wake = plan.wakeAt {
        #expect(wake > model.now, "a wake-up in the past makes a loop: \(start)")
        model.now = max(model.now + 1, wake)
      } else if model.actual.domain?.power == .shuttingDown, document.power == .running,
        !plan.isOldNews
      {
        // Nothing is to be done until the guest has gone.
        model.actual.domain?.power = .off(.guestShutdown)
      } else {
        return checkRest(document, start, model, plan)
      }
    }
  }

  private func checkRest(_ document: Assignment, _ start: ActualVM, _ model: Model, _ plan: Plan) {
    let end = model.actual.domain
    let situation: Comment = "from \(start) for \(document.power), deleted \(document.deleted)"
    if plan.isOldNews {
      #expect(model.actual == start, situation)
    } else if document.deleted {
      #expect(end == nil && !model.actual.files.any && model.actual.journal.isEmpty, situation)
    } else if document.power == .stopped {
      #expect(end.map { !$0.power.isActive } == true && end?.tag.generation == 5, situation)
    } else if plan.guestStopped {
      #expect(model.starts == 0 && end?.tag.guestStopped == true, situation)
    } else {
      #expect(end?.power == .running || end?.power == .suspended, situation)
      #expect(end?.tag.ranGeneration == 5 && end?.tag.incarnation == 2, situation)
    }
    if !plan.isOldNews, !document.deleted {
      #expect(document.newRequests(model.actual.journal).isEmpty, situation)
      #expect(model.actual.journal.stop == nil, situation)
    }
    #expect(model.carriedOut <= 1 && model.starts <= 1, situation)
    // What should run and runs is never interrupted.
    if document.power == .running, !document.deleted, start.domain?.power == .running,
      start.domain?.tag.incarnation == 2
    {
      #expect(model.destroyed == 0 && model.starts == 0, situation)
    }
  }
}
