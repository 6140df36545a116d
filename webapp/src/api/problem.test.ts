import { expect, it } from 'vitest'
import { faultsByField, Problem, problemOf } from './problem'

it('takes the sentence, then the title, then the status', () => {
  expect(new Problem(422, { detail: 'Too long.', title: 'Unprocessable' }).message).toBe('Too long.')
  expect(new Problem(422, { title: 'Unprocessable' }).message).toBe('Unprocessable')
  expect(new Problem(502, {}).message).toBe('The manager answered with status 502.')
  expect(new Problem(502, {}).code).toBe('http-502')
})

it('says that the manager is away where there was no answer', () => {
  expect(problemOf(new TypeError('Failed to fetch')).code).toBe('unreachable')
})

it('finds the fields at fault', () => {
  const problem = new Problem(422, {
    errors: [
      { location: 'body.port', message: 'is taken' },
      { location: 'body.parameters.work_mem', message: 'is no setting' },
      { location: 'body', message: 'whole' },
    ],
  })
  expect(faultsByField(problem)).toEqual({ port: 'is taken', 'parameters.work_mem': 'is no setting' })
})
