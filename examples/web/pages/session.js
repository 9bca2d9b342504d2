// Logging in and out. Who somebody is, the server knows by a cookie that scripts cannot read.

/** The name of whoever is logged in, or null. */
export async function user() {
  const response = await fetch('/me');
  return response.ok ? response.text() : null;
}

function post(path, body) {
  return fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

/**
 * Shows the form until somebody is logged in, then calls `enter` with the name. `read` makes what is sent of the form's
 * fields.
 */
export async function logIn(form, read, enter) {
  const problem = form.querySelector('.problem');
  const open = (name) => {
    form.hidden = true;
    enter(name);
  };
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    problem.textContent = '';
    const response = await post('/login', read(form.elements)).catch(() => null);
    if (response?.ok) open(await user());
    else problem.textContent = response ? await response.text() : 'The server cannot be reached.';
  });
  const name = await user().catch(() => null);
  if (name !== null) open(name);
  else {
    form.hidden = false;
    form.querySelector('input').focus();
  }
}

/** Ends the session, and begins with the form again. */
export async function logOut() {
  await post('/logout', {});
  location.reload();
}
