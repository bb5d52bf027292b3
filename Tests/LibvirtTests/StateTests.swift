import Libvirt
import Testing

@Suite struct StateTests {
  @Test(
    "libvirt's two numbers become a state and its own reason",
    arguments: [
      (1, 1, DomainState.running(.booted)), (1, 5, .running(.unpaused)), (1, 99, .running(.unknown)),
      (3, 1, .paused(.user)), (3, 5, .paused(.ioError)), (3, 12, .paused(.postCopy)), (4, 1, .shuttingDown),
      (5, 1, .shutOff(.shutdown)), (5, 3, .shutOff(.crashed)), (5, 4, .shutOff(.migrated)), (5, 8, .shutOff(.daemon)),
      (6, 1, .crashed(panicked: true)), (7, 0, .suspended), (42, 7, .unknown(state: 42, reason: 7)),
    ])
  func states(state: Int, reason: Int, expected: DomainState) {
    #expect(DomainState(state: state, reason: reason) == expected)
  }

  @Test(
    "libvirt's two numbers become a lifecycle event",
    arguments: [
      (0, 0, DomainEvent.Lifecycle.defined), (0, 2, .renamed), (1, 0, .undefined), (2, 0, .started),
      (3, 2, .suspended(.ioError)), (4, 0, .resumed), (5, 0, .stopped(.shutdown)), (5, 5, .stopped(.failed)),
      (6, 1, .shuttingDown(.guest)), (8, 0, .crashed), (5, 77, .other(event: 5, detail: 77)),
      (50, 1, .other(event: 50, detail: 1)),
    ])
  func lifecycle(event: Int, detail: Int, expected: DomainEvent.Lifecycle) {
    #expect(DomainEvent.Lifecycle(event: event, detail: detail) == expected)
  }
}
