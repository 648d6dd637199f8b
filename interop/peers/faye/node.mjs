// Faye's client in Node.js.

import Faye from 'faye';

import { drive } from '../lines.mjs';
import user from './user.js';

drive((deliver) => user.newUser(Faye, deliver));
