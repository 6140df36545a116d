import { Button, Paper, PasswordInput, Stack, Text, TextInput, Title } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useRouter, useSearch } from '@tanstack/react-router'
import { useEffect, useRef, useState } from 'react'
import { Mark } from '@/app/Mark'
import { useTitle } from '@/components/PageHeader'
import { ProblemAlert } from '@/components/ProblemAlert'
import { meQuery, signIn } from './api'
import classes from './SignInPage.module.css'

// A wanted page is a path of ours; anything else would send people away after they signed in.
export function safePath(to: string | undefined): string {
  return to && /^\/(?![/\\])/.test(to) && !to.startsWith('/sign-in') ? to : '/'
}

export function SignInPage() {
  useTitle('Sign in')
  const router = useRouter()
  const client = useQueryClient()
  const { to } = useSearch({ from: '/sign-in' })
  const [login, setLogin] = useState('')
  const [password, setPassword] = useState('')
  const loginRef = useRef<HTMLInputElement>(null)
  const passwordRef = useRef<HTMLInputElement>(null)
  useEffect(() => loginRef.current?.focus(), [])

  const mutation = useMutation({
    mutationFn: () => signIn(login.trim(), password),
    onSuccess: (account) => {
      client.clear()
      client.setQueryData(meQuery.queryKey, account)
      router.history.push(safePath(to))
    },
    onError: () => passwordRef.current?.select(),
  })

  return (
    <main className={classes.page}>
      <Stack gap={24} w="100%" maw={360}>
        <div className={classes.brand}>
          <Mark size={40} />
          <span>pgdrover</span>
        </div>
        <Paper withBorder p={24} radius="lg" className={classes.card}>
          <form
            onSubmit={(event) => {
              event.preventDefault()
              mutation.mutate()
            }}
          >
            <Stack gap={16}>
              <div>
                <Title order={1} size="h2">
                  Sign in
                </Title>
                {to && safePath(to) !== '/' ? (
                  <Text size="sm" c="dimmed">
                    You come back to where you wanted to go.
                  </Text>
                ) : null}
              </div>
              {mutation.isError && <ProblemAlert error={mutation.error} title="Signing in failed" />}
              <TextInput
                ref={loginRef}
                label="Login"
                name="login"
                autoComplete="username"
                autoCapitalize="none"
                spellCheck={false}
                required
                withAsterisk={false}
                value={login}
                onChange={(event) => setLogin(event.currentTarget.value)}
              />
              <PasswordInput
                ref={passwordRef}
                label="Password"
                name="password"
                autoComplete="current-password"
                required
                withAsterisk={false}
                value={password}
                onChange={(event) => setPassword(event.currentTarget.value)}
                visibilityToggleButtonProps={{ 'aria-label': 'Show the password', tabIndex: 0 }}
              />
              <Button type="submit" fullWidth loading={mutation.isPending} size="md">
                Sign in
              </Button>
            </Stack>
          </form>
        </Paper>
        <Text size="sm" c="dimmed" ta="center">
          PostgreSQL servers, kept as one herd.
        </Text>
      </Stack>
    </main>
  )
}
