import { styleText } from 'node:util'

/** Tells what happens, and holds the demo to what it says: a step that is not as told ends it. */
export class Narrator {
  #steps = 0

  title(text: string): void {
    console.log(`\n${styleText('bold', text)}`)
  }

  /** Announces a step. */
  step(text: string): void {
    this.#steps += 1
    console.log(`\n${styleText('cyan', `${String(this.#steps).padStart(2)}  ${text}`)}`)
  }

  /** One line of what was seen. */
  note(text: string): void {
    console.log(`    ${text}`)
  }

  /** States what must be so. @throws DemoFailure where it is not */
  check(holds: boolean, text: string): void {
    if (!holds) throw new DemoFailure(text)
    console.log(`    ${styleText('green', '✓')} ${text}`)
  }

  /** A refusal that was announced and has come. */
  refused(text: string, answer: string): void {
    console.log(`    ${styleText('green', '✓')} refused: ${text}`)
    console.log(`      ${styleText('dim', answer)}`)
  }
}

/** A step was not as said. */
export class DemoFailure extends Error {
  override readonly name = 'DemoFailure'
}
