import AloftModel
import Logging

/// Runs an ``AgentMachine``: carries its effects out, each in a task of its own, and brings it what happened.
public actor Agent {
  private var machine: AgentMachine
  private let performer: EffectPerformer
  private let events: AsyncStream<AgentEvent>
  private let inbox: AsyncStream<AgentEvent>.Continuation

  public init(machine: AgentMachine, performer: EffectPerformer) {
    self.machine = machine
    self.performer = performer
    (events, inbox) = AsyncStream.makeStream(of: AgentEvent.self)
  }

  /// Works until the task is cancelled. Guests stay as they are then.
  public func run() async {
    await withDiscardingTaskGroup { group in
      let (performer, inbox) = (performer, inbox)
      group.addTask {
        for await event in await performer.hypervisor.events() { inbox.yield(.hypervisor(event)) }
      }
      group.addTask {
        for await event in await performer.networks.events() { inbox.yield(.network(event)) }
      }
      let alarm = Alarm(clock: performer.clock) { inbox.yield(.wake) }
      inbox.yield(.wake)
      // The stream's iteration ends when this task is cancelled.
      for await event in events {
        for effect in machine.handle(event, now: performer.clock.now()) {
          group.addTask {
            if let event = await performer.perform(effect, emit: { inbox.yield($0) }) {
              inbox.yield(event)
            }
          }
        }
        alarm.set(to: machine.wakeAt)
      }
      group.cancelAll()
    }
  }
}

/// One pending wake-up; setting it anew replaces it.
private final class Alarm {
  private let clock: any AgentClock
  private let ring: @Sendable () -> Void
  private var pending: (at: Int, task: Task<Void, Never>)?

  init(clock: any AgentClock, ring: @escaping @Sendable () -> Void) {
    self.clock = clock
    self.ring = ring
  }

  deinit { pending?.task.cancel() }

  func set(to uptime: Int) {
    if let pending, pending.at == uptime, pending.at > clock.now().uptime { return }
    pending?.task.cancel()
    let (clock, ring) = (clock, ring)
    let task = Task {
      do { try await clock.sleep(until: uptime) } catch { return }
      ring()
    }
    pending = (uptime, task)
  }
}
