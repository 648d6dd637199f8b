// cometd.js in Node.js.

import * as cometd from 'cometd';
import { adapt } from 'cometd-nodejs-client';

import { drive } from '../lines.mjs';
import { newUser } from './user.mjs';

adapt();
drive((deliver, tell) => newUser(cometd, deliver, tell));
